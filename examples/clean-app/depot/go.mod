module example.com/parcels/depot

go 1.25

require (
	golang.org/x/net v0.46.0 // indirect
	golang.org/x/text v0.30.0 // indirect
)
