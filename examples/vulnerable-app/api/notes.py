"""What the depot has written down about parcels, a file for each."""
import os

NOTES = "/var/lib/parcels/notes"


def read(parcel):
    with open(os.path.join(NOTES, parcel), encoding="utf-8") as file:
        return file.read()
