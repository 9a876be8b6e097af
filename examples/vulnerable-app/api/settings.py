"""Settings of the API, for every place that it runs in."""
import os

DATABASE = os.environ.get("PARCELS_DATABASE", "postgresql://parcels:parcels@db/parcels")
LABELS = os.environ.get("PARCELS_LABELS", "/var/lib/parcels/labels")

# The carrier bills by this key.
CARRIER_API_KEY = "f3b0c9d27ae84165b8e2d7106c5f9a34"

SESSION_SECRET = "k8Zq2Vw7Rt4Ym1Xc9Bn6Lp3Hs5Jd0FgA"
