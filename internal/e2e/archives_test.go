package e2e_test

import (
	"strings"
	"sync"
	"testing"
)

// What costs seconds to make is made once for all places, by the first test
// that wants it.
var made struct {
	planted, bomb sync.Once
	project       project
	zeros         []byte
}

// project is an archive and what is to be found in it.
type project struct {
	archive []byte
	want    map[string]int
}

// planted is the sources of gitleaks with what gitleaks finds in them.
func planted(t *testing.T) project {
	t.Helper()
	made.planted.Do(func() {
		tree := gitleaksSources(t)
		made.project = project{archive: tarGz(t, dirFiles(t, tree)), want: gitleaksFindings(t, tree)}
	})
	return made.project
}

// bomb is 40 MiB that take 40 KiB.
func bomb(t *testing.T) []byte {
	t.Helper()
	made.bomb.Do(func() { made.zeros = tarGz(t, map[string]string{"zeros": strings.Repeat("\x00", 40<<20)}) })
	return made.zeros
}
