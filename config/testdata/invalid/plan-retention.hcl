# A plan keeps no scan longer than retention.scans says, which every plan without
# a word of its own has.
retention {
  scans = "720h"
}

plan "free" {
  retention = "24h"
}

plan "gold" {
  retention = "8760h"
}

plan "silver" {
  retentoin = "24h"
}

plan "bronze" {
  retention = "30"
}

plan "iron" {
  retention = "-1h"
}
