#!/bin/sh
# Asks every depot how it is.
set -eu
for depot in north south; do
  curl -H "Authorization: Bearer 7b2e9f4c1d8a63058e21c7f9" "https://$depot.parcels.example/status"
done
