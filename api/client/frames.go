package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	eventStream = "text/event-stream"
	// maxFrame bounds one event, in bytes.
	maxFrame = 16 << 20
	// maxEventID bounds an id: it becomes a header.
	maxEventID = 256
	// maxRetry bounds the pause that a host may ask for.
	maxRetry = time.Minute
)

// frame is one event as it is sent (WHATWG HTML, 9.2).
type frame struct {
	id    string // "": none
	name  string
	data  []byte
	retry time.Duration // 0: none
}

// frames reads a stream.
type frames struct{ lines *bufio.Scanner }

func newFrames(r io.Reader) *frames {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxFrame)
	return &frames{lines}
}

// next gives the next frame with data. With an error, which is never nil at the
// end of the stream, it has what was read before.
func (f *frames) next() (frame, error) {
	var out frame
	for size := 0; f.lines.Scan(); {
		line := f.lines.Bytes()
		if len(line) == 0 {
			if out.data != nil {
				return out, nil
			}
			out, size = frame{retry: out.retry}, 0
			continue
		}
		if size += len(line); size > maxFrame {
			return out, fmt.Errorf("an event is larger than %d bytes", maxFrame)
		}
		name, value, _ := bytes.Cut(line, []byte(":")) // ":..." is a comment
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			if id := string(value); len(id) <= maxEventID && !strings.ContainsFunc(id, notInHeader) {
				out.id = id
			}
		case "event":
			out.name = string(value)
		case "data":
			if out.data != nil {
				out.data = append(out.data, '\n')
			}
			out.data = append(out.data, value...)
			if out.data == nil {
				out.data = []byte{}
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
				out.retry = min(time.Duration(ms)*time.Millisecond, maxRetry)
			}
		}
	}
	if err := f.lines.Err(); err != nil {
		return out, fmt.Errorf("read events: %w", err)
	}
	return out, io.ErrUnexpectedEOF
}

func notInHeader(r rune) bool { return r < ' ' || r > '~' }

// event reads the frame. One that this client does not know is none.
func (f frame) event() (e Event, known bool, err error) {
	e = Event{ID: f.id, Type: EventType(f.name)}
	var into any
	switch e.Type {
	case EventSnapshot, EventEnded:
		e.Scan = &Scan{}
		into = e.Scan
	case EventScans:
		e.Scans = &ScansSnapshot{}
		into = e.Scans
	case EventJobStarted, EventJobProgress, EventJobRetry, EventJobEnded:
		e.Job = &JobEvent{}
		into = e.Job
	case EventAccepted, EventChanged, EventRemoved:
		e.Change = &ScanEvent{}
		into = e.Change
	case EventAway, EventReset:
		return e, true, nil
	default:
		return Event{}, false, nil
	}
	if err := json.Unmarshal(f.data, into); err != nil {
		return Event{}, false, fmt.Errorf("read event %.40q: %w", f.name, err)
	}
	return e, true, nil
}
