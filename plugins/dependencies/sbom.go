package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	engine "github.com/google/osv-scalibr/version"
)

const (
	sbomName       = "sbom.cdx.json"
	sbomType       = "application/vnd.cyclonedx+json"
	maxOccurrences = 100 // of one package
)

// writeSBOM writes the packages as CycloneDX 1.6: each once, with the places
// that name it. It is not said to be complete: a lockfile that is not there,
// or whose format the engine does not know, leaves no trace.
func writeSBOM(w io.Writer, target string, all []dependency, now time.Time, whole bool) error {
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	components := make([]cdx.Component, 0, len(all))
	index := map[string]int{}
	for _, d := range all {
		key := d.purl + "\x00" + d.allows
		i, ok := index[key]
		if !ok {
			i = len(components)
			index[key] = i
			components = append(components, component(d))
		}
		c := &components[i]
		if at := c.Evidence.Occurrences; len(*at) < maxOccurrences {
			*at = append(*at, occurrence(d))
		}
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &components
	bom.Metadata = &cdx.Metadata{
		Timestamp: now.UTC().Format(time.RFC3339),
		Component: &cdx.Component{BOMRef: "target", Type: cdx.ComponentTypeApplication, Name: cmp.Or(target, "target")},
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{
			{Type: cdx.ComponentTypeApplication, Name: "securetag-dependencies", Version: version},
			{Type: cdx.ComponentTypeLibrary, Name: "osv-scalibr", Version: engine.ScannerVersion},
		}},
	}
	aggregate := cdx.CompositionAggregateUnknown
	if !whole {
		aggregate = cdx.CompositionAggregateIncomplete
	}
	bom.Compositions = &[]cdx.Composition{{Aggregate: aggregate, Assemblies: &[]cdx.BOMReference{"target"}}}
	serial, err := serialNumber(components)
	if err != nil {
		return err
	}
	bom.SerialNumber = serial
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).EncodeVersion(bom, cdx.SpecVersion1_6)
}

func component(d dependency) cdx.Component {
	c := cdx.Component{
		BOMRef: d.purl, Type: cdx.ComponentTypeLibrary, Name: d.name, Version: d.version, PackageURL: d.purl,
		Evidence: &cdx.Evidence{Occurrences: &[]cdx.EvidenceOccurrence{}},
	}
	if d.allows != "" { // which version is in use is not known
		c.BOMRef, c.Version = d.purl+"#"+d.allows, ""
		c.Properties = &[]cdx.Property{{Name: "securetag:requirement", Value: d.allows}}
	}
	return c
}

func occurrence(d dependency) cdx.EvidenceOccurrence {
	o := cdx.EvidenceOccurrence{Location: d.path}
	if d.line > 0 {
		o.Line = &d.line
	}
	return o
}

// serialNumber is the same for the same components, so that a scan that is
// repeated does not look like news.
func serialNumber(components []cdx.Component) (string, error) {
	b, err := json.Marshal(components)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of version 8: the rest is ours
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]), nil
}
