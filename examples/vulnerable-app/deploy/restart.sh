#!/bin/sh
# Tells every depot to read its routes again.
set -eu
for depot in north south; do
  curl -u "operator:Zx8Kp2Wq9Lm4" "https://$depot.parcels.example/reload"
done
