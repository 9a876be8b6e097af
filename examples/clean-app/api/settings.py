"""Settings of the API, for every place that it runs in. Whatever is secret comes
from the environment, and without it the program does not start."""
import os

DATABASE = os.environ["PARCELS_DATABASE"]
LABELS = os.environ.get("PARCELS_LABELS", "/var/lib/parcels/labels")

# The carrier bills by this key.
CARRIER_API_KEY = os.environ["PARCELS_CARRIER_API_KEY"]

SESSION_SECRET = os.environ["PARCELS_SESSION_SECRET"]
