package storetest

import (
	"pgregory.net/rapid"
)

// compareQuotas: whatever happened, counters, ledger and rows say the same.
func (m *machine) compareQuotas(t *rapid.T) {
	if wrong := must(m.VerifyQuotas(m.ctx(), false))(t); len(wrong) > 0 {
		t.Fatalf("the quotas do not add up: %+v", wrong)
	}
}
