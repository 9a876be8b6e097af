module example.com/service

go 1.17

require (
	github.com/gorilla/mux v1.8.0
	golang.org/x/text v0.3.6
)

require golang.org/x/net v0.0.0-20210226172049-e18ecbb05110 // indirect
