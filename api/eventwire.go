package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/watch"
)

// scanEvents are the events of a scan with what each carries, tenantEvents those
// of a tenant.
func scanEvents() map[client.EventType]any {
	events := sharedEvents()
	events[client.EventSnapshot], events[client.EventEnded] = client.Scan{}, client.Scan{}
	events[client.EventJobProgress] = client.JobEvent{}
	events[client.EventRemoved] = client.ScanEvent{}
	return events
}

func tenantEvents() map[client.EventType]any {
	events := sharedEvents()
	events[client.EventScans] = client.ScansSnapshot{}
	events[client.EventAccepted] = client.ScanEvent{}
	return events
}

func sharedEvents() map[client.EventType]any {
	return map[client.EventType]any{
		client.EventJobStarted: client.JobEvent{}, client.EventJobRetry: client.JobEvent{}, client.EventJobEnded: client.JobEvent{},
		client.EventChanged: client.ScanEvent{}, client.EventAway: client.Notice{}, client.EventReset: client.Notice{},
	}
}

// eventResponses documents a stream as the list of the events in it: OpenAPI 3.1
// has no better way.
func eventResponses(doc huma.API, events map[client.EventType]any) map[string]*huma.Response {
	var each []*huma.Schema
	for _, name := range slices.Sorted(maps.Keys(events)) {
		each = append(each, &huma.Schema{
			Title: string(name), Type: huma.TypeObject, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"id":    {Type: huma.TypeString, Description: "Where a client is that has seen it; left out when that does not change."},
				"event": {Type: huma.TypeString, Enum: []any{string(name)}},
				"data":  doc.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(events[name]), true, ""),
			},
		})
	}
	return map[string]*huma.Response{
		"200": {
			Description: "A stream of events, as the HTML standard defines it (server-sent events). The schema is that of the list of them; data is JSON on one line.",
			Content: map[string]*huma.MediaType{eventStream: {Schema: &huma.Schema{
				Type: huma.TypeArray, Items: &huma.Schema{OneOf: each},
			}}},
		},
		"204": {Description: "There is no more to hear: Last-Event-ID is that of the last event."},
	}
}

// renderItem writes an item as it goes over the wire.
func renderItem(i *watch.Item) []byte {
	name, data := eventOf(i)
	var b bytes.Buffer
	if i.Placed {
		id := string(i.ID)
		if id == "" {
			id = startID
		}
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + string(name) + "\ndata: ")
	enc := json.NewEncoder(&b) // on one line, with its end
	enc.SetEscapeHTML(false)
	_ = enc.Encode(data) // what this package shows always encodes
	b.WriteByte('\n')
	return b.Bytes()
}

func eventOf(i *watch.Item) (client.EventType, any) {
	switch i.Kind {
	case watch.KindSnapshot:
		if i.Scan.ID != "" {
			return client.EventSnapshot, wireScan(i.Scan)
		}
		out := client.ScansSnapshot{Scans: []client.Scan{}, More: i.More}
		for _, s := range i.Scans {
			out.Scans = append(out.Scans, wireScan(s))
		}
		return client.EventScans, out
	case watch.KindAway:
		return client.EventAway, client.Notice{Detail: "Live events are not to be had for the moment. The stream goes on, and says how things are when it knows."}
	case watch.KindReset:
		return client.EventReset, client.Notice{Detail: "Events were missed that are not kept any more. A snapshot follows."}
	case watch.KindEnded:
		return client.EventEnded, wireScan(i.Scan)
	case watch.KindRemoved:
		return client.EventRemoved, client.ScanEvent{}
	case watch.KindEvent:
	}
	return wireEvent(i.Event)
}

func wireEvent(e host.Event) (client.EventType, any) {
	name, ok := map[host.EventKind]client.EventType{
		host.EventStarted: client.EventJobStarted, host.EventProgress: client.EventJobProgress,
		host.EventRetry: client.EventJobRetry, host.EventEnded: client.EventJobEnded,
	}[e.Kind]
	if !ok {
		name = client.EventChanged
		if e.Kind == host.EventAccepted {
			name = client.EventAccepted
		}
		return name, client.ScanEvent{At: wireTime(e.At), ScanID: string(e.Scan), State: client.State(e.ScanState)}
	}
	out := client.JobEvent{
		At: e.At, ScanID: string(e.Scan), JobID: string(e.Job), Plugin: e.Plugin, Attempt: e.Attempt,
		State: client.State(e.State), Code: string(e.Code), Findings: e.Findings, ScanState: client.State(e.ScanState),
	}
	if e.Progress != (host.Progress{}) {
		p := client.Progress(e.Progress)
		out.Progress = &p
	}
	return name, out
}
