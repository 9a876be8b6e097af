#!/bin/sh
# Asks every depot how it is.
set -eu
for depot in north south; do
  curl --netrc-file "$PARCELS_NETRC" "https://$depot.parcels.example/status"
done
