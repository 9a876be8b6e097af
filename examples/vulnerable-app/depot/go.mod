module example.com/parcels/depot

go 1.17

require (
	golang.org/x/net v0.0.0-20210226172049-e18ecbb05110 // indirect
	golang.org/x/text v0.3.6 // indirect
)
