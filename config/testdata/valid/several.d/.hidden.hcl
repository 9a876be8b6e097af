left out {
