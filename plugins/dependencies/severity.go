package main

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/securetaghq/securetag/sdk"
)

// rating is how bad an advisory is.
type rating struct {
	severity sdk.Severity
	vector   string  // CVSS; "": by the word of the database, or not rated
	score    float64 // of the vector
}

// rate takes the newest CVSS version that the advisory has, the worst of
// several; without one the database's own word; without that medium.
func (a *advisory) rate() rating {
	best, newest := rating{}, 0
	for _, s := range a.Severity {
		score, generation, ok := score(s.Score)
		if !ok || generation < newest || generation == newest && score <= best.score && best.vector != "" {
			continue
		}
		best, newest = rating{severity: band(score), vector: s.Score, score: score}, generation
	}
	if best.vector != "" {
		return best
	}
	switch strings.ToUpper(a.Label) {
	case "CRITICAL":
		return rating{severity: sdk.Critical}
	case "HIGH":
		return rating{severity: sdk.High}
	case "LOW":
		return rating{severity: sdk.Low}
	}
	return rating{severity: sdk.Medium}
}

// score is that of a vector, and the generation of CVSS that it is of.
func score(vector string) (score float64, generation int, ok bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		if v, err := gocvss40.ParseVector(vector); err == nil {
			return v.Score(), 4, true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		if v, err := gocvss31.ParseVector(vector); err == nil {
			return v.BaseScore(), 3, true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		if v, err := gocvss30.ParseVector(vector); err == nil {
			return v.BaseScore(), 3, true
		}
	default:
		if v, err := gocvss20.ParseVector(vector); err == nil {
			return v.BaseScore(), 2, true
		}
	}
	return 0, 0, false
}

// band is the qualitative scale of CVSS 3 and 4.
func band(score float64) sdk.Severity {
	switch {
	case score >= 9:
		return sdk.Critical
	case score >= 7:
		return sdk.High
	case score >= 4:
		return sdk.Medium
	case score > 0:
		return sdk.Low
	}
	return sdk.Info
}
