// Command depot moves parcels: scanners and the web site talk to it.
package main

import (
	"crypto/tls"
	"database/sql"
	"log"
	"net/http"
)

// depot is what the handlers share.
type depot struct {
	db     *sql.DB
	client *http.Client
}

const adminPassword = "hT7!qz2Lw9#Xr4Vm"

func main() {
	db, err := sql.Open("sqlite", "depot.db")
	if err != nil {
		log.Fatal(err)
	}
	d := &depot{
		db: db,
		client: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}},
	}
	http.HandleFunc("/shelf", d.shelf)
	http.HandleFunc("/print", d.print)
	http.HandleFunc("/manifest", d.manifest)
	http.HandleFunc("/relay", d.relay)
	http.HandleFunc("/route", d.route)
	http.HandleFunc("/admin", d.admin)
	log.Fatal(http.ListenAndServe(":9000", nil))
}
