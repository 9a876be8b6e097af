// Command depot moves parcels: scanners and the web site talk to it.
package main

import (
	"crypto/tls"
	"database/sql"
	"log"
	"net/http"
	"os"
	"time"
)

// depot is what the handlers share.
type depot struct {
	db        *sql.DB
	client    *http.Client
	manifests *os.Root
	password  string
}

func main() {
	db, err := sql.Open("sqlite", "depot.db")
	if err != nil {
		log.Fatal(err)
	}
	manifests, err := os.OpenRoot("/var/lib/parcels/manifests")
	if err != nil {
		log.Fatal(err)
	}
	d := &depot{
		db: db,
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		}},
		manifests: manifests,
		password:  os.Getenv("PARCELS_ADMIN_PASSWORD"),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/shelf", d.shelf)
	mux.HandleFunc("/print", d.print)
	mux.HandleFunc("/manifest", d.manifest)
	mux.HandleFunc("/relay", d.relay)
	mux.HandleFunc("/route", d.route)
	mux.HandleFunc("/admin", d.admin)
	server := &http.Server{Addr: ":9000", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
