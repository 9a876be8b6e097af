package sdk

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// rehearse reads and writes the messages of a scan once. What protobuf makes for
// each type when it first sees one would be most of what a process that waited
// for its job takes longer for it than one that has had others.
func rehearse() {
	for _, m := range []proto.Message{
		&pluginv1.ScanRequest{
			Target: &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: "/"}}, OptionsJson: []byte("{}"),
			Limits: &pluginv1.Limits{MaxSilence: durationpb.New(1)},
		},
		&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Progress{Progress: &pluginv1.Progress{Phase: "rehearsal"}}},
		&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Findings{Findings: &pluginv1.Findings{
			Findings: []*pluginv1.Finding{{RuleId: "rehearsal", Location: &pluginv1.Location{Path: "rehearsal"}}},
		}}},
		&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: &pluginv1.Completed{}}},
	} {
		if b, err := proto.Marshal(m); err == nil {
			_ = proto.Unmarshal(b, m.ProtoReflect().New().Interface())
		}
	}
}
