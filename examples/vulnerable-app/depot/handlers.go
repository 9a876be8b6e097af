package main

import (
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
)

const manifests = "/var/lib/parcels/manifests"

// shelf says where a parcel lies.
func (d *depot) shelf(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("code")
	row := d.db.QueryRow(fmt.Sprintf("SELECT shelf FROM parcels WHERE code = '%s'", code))
	var shelf string
	if err := row.Scan(&shelf); err != nil {
		fmt.Fprintf(w, "<p>No parcel %s</p>", code)
		return
	}
	fmt.Fprintln(w, shelf)
}

// print prints a label.
func (d *depot) print(w http.ResponseWriter, r *http.Request) {
	printer := r.FormValue("printer")
	out, err := exec.Command("sh", "-c", "lp -d "+printer+" label.pdf").CombinedOutput()
	if err != nil {
		http.Error(w, "not printed", http.StatusBadGateway)
		return
	}
	_, _ = w.Write(out)
}

// manifest is the list of a lorry's parcels.
func (d *depot) manifest(w http.ResponseWriter, r *http.Request) {
	f, err := os.Open(filepath.Join(manifests, r.URL.Query().Get("lorry")))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	_, _ = io.Copy(w, f)
}

// relay asks another depot.
func (d *depot) relay(w http.ResponseWriter, r *http.Request) {
	answer, err := d.client.Get(r.URL.Query().Get("depot"))
	if err != nil {
		http.Error(w, "no answer", http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	_, _ = io.Copy(w, answer.Body)
}

// route takes the stops of a lorry.
func (d *depot) route(w http.ResponseWriter, r *http.Request) {
	var stops []string
	if err := gob.NewDecoder(r.Body).Decode(&stops); err != nil {
		http.Error(w, "not a route", http.StatusBadRequest)
		return
	}
	if err := save("route", stops); err != nil {
		http.Error(w, "not saved", http.StatusInternalServerError)
	}
}

// admin lets the staff in.
func (d *depot) admin(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("password") != adminPassword {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, token())
}
