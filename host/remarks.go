package host

// Remarks are what a plugin said of a target beside its findings, for who asked
// for the scan. Every text has been checked, cleaned and cut to its limit.
type Remarks struct {
	// NotApplicable is why there was nothing in the target for the plugin, which
	// then looked at nothing; "": there was.
	NotApplicable string `json:"not_applicable,omitempty"`
	Notes         []Note `json:"notes,omitempty"`
	More          int    `json:"more,omitempty"` // notes that are not kept
}

// Empty reports whether there are none.
func (r Remarks) Empty() bool { return r.NotApplicable == "" && len(r.Notes) == 0 && r.More == 0 }

// MaxNotes is how many notes of one job are kept.
const MaxNotes = 20

// Note is a line for people about the target.
type Note struct {
	Level NoteLevel `json:"level"`
	Text  string    `json:"text"`
	Path  string    `json:"path,omitempty"` // which file, as in Location; "": none
}

// NoteLevel is how much a note matters.
type NoteLevel string

const (
	NoteNotice  NoteLevel = "notice"
	NoteWarning NoteLevel = "warning"
	NoteError   NoteLevel = "error" // of a part of the target: what fails a job is its error
)

// NothingScanned reports whether the scan has ended and there was nothing in its
// target for any of its plugins: that nothing was found then says nothing.
func (s Scan) NothingScanned() bool {
	for _, j := range s.Jobs {
		if j.State != StateSucceeded || j.Remarks.NotApplicable == "" {
			return false
		}
	}
	return len(s.Jobs) > 0
}
