"""What the depot has written down about parcels, a file for each."""
import pathlib

NOTES = pathlib.Path("/var/lib/parcels/notes")


def read(parcel):
    file = (NOTES / parcel).resolve()
    if not file.is_relative_to(NOTES):
        raise ValueError("no parcel has that name")
    return file.read_text(encoding="utf-8")
