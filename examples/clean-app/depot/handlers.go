package main

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"os/exec"
)

// others are the depots that may be asked.
var others = map[string]string{
	"north": "https://north.parcels.example/status",
	"south": "https://south.parcels.example/status",
}

// shelf says where a parcel lies.
func (d *depot) shelf(w http.ResponseWriter, r *http.Request) {
	row := d.db.QueryRow("SELECT shelf FROM parcels WHERE code = $1", r.URL.Query().Get("code"))
	var shelf string
	if err := row.Scan(&shelf); err != nil {
		http.NotFound(w, r)
		return
	}
	answer(w, shelf)
}

// print prints a label.
func (d *depot) print(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("printer") != "labels" {
		http.NotFound(w, r)
		return
	}
	if err := exec.Command("lp", "-d", "labels", "label.pdf").Run(); err != nil {
		http.Error(w, "not printed", http.StatusBadGateway)
	}
}

// manifest is the list of a lorry's parcels.
func (d *depot) manifest(w http.ResponseWriter, r *http.Request) {
	http.FileServerFS(d.manifests.FS()).ServeHTTP(w, r)
}

// relay asks another depot.
func (d *depot) relay(w http.ResponseWriter, r *http.Request) {
	for name, address := range others {
		if name != r.URL.Query().Get("depot") {
			continue
		}
		reply, err := d.client.Get(address)
		if err != nil {
			http.Error(w, "no answer", http.StatusBadGateway)
			return
		}
		defer reply.Body.Close()
		answer(w, reply.Status)
	}
}

// route takes the stops of a lorry.
func (d *depot) route(w http.ResponseWriter, r *http.Request) {
	var stops []string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&stops); err != nil {
		http.Error(w, "not a route", http.StatusBadRequest)
		return
	}
	if err := save(d.manifests, stops); err != nil {
		http.Error(w, "not saved", http.StatusInternalServerError)
	}
}

// admin lets the staff in.
func (d *depot) admin(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.FormValue("password")), []byte(d.password)) != 1 {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	answer(w, token())
}

// answer writes a value, which no browser takes for a page.
func answer(w http.ResponseWriter, value string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
