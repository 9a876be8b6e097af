package pluginv1_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	frozenFile   = "../frozen/v1.txtpb"
	contractFile = "securetag/plugin/v1/scanner.proto"
)

// TestContractIsFrozen compares the contract with the copy that was frozen, as
// `buf breaking` in `make lint` does: what plugins in the field speak is added
// to, never changed. Here it costs no more than a test, and needs no tool.
func TestContractIsFrozen(t *testing.T) {
	t.Parallel()
	for _, problem := range breaking(resolve(t, frozen(t)), pluginv1.File_securetag_plugin_v1_scanner_proto) {
		t.Errorf("%s: version 1 is frozen, see the head of scanner.proto", problem)
	}
}

// TestGuard: the comparison sees every kind of break, and lets additions be.
func TestGuard(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*descriptorpb.FileDescriptorProto)
		want   string // "": no break
	}{
		"nothing": {func(*descriptorpb.FileDescriptorProto) {}, ""},
		"a field removed": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Completed")
			m.Field = m.Field[:len(m.Field)-1]
		}, "Completed.bytes_scanned is gone"},
		"a field renumbered": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Completed", "findings").Number = proto.Int32(44)
		}, "Completed.findings has the number 44, it was 4"},
		"two fields swapped": {func(f *descriptorpb.FileDescriptorProto) {
			a, b := field(f, "Completed", "findings"), field(f, "Completed", "files_scanned")
			a.Number, b.Number = b.Number, a.Number
		}, "Completed.findings has the number 5, it was 4"},
		"a type changed": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Completed", "findings").Type = descriptorpb.FieldDescriptorProto_TYPE_SINT64.Enum()
		}, "Completed.findings is sint64, it was uint64"},
		"a message type changed": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Limits", "max_silence").TypeName = proto.String(".google.protobuf.Timestamp")
		}, "Limits.max_silence is google.protobuf.Timestamp, it was google.protobuf.Duration"},
		"one became many": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Completed", "reason").Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "Completed.reason is repeated, it was optional"},
		"a field left its oneof": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "ScanEvent", "completed").OneofIndex = nil
		}, `ScanEvent.completed is in the oneof "", it was in "event"`},
		"presence lost": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Attribute")
			m.OneofDecl = m.OneofDecl[:1]
			a := field(f, "Attribute", "max")
			a.Proto3Optional, a.OneofIndex = nil, nil
		}, "Attribute.max has another presence"},
		"a field renamed": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Completed", "reason").Name = proto.String("why")
		}, "Completed.reason is gone"},
		"another name in JSON": {func(f *descriptorpb.FileDescriptorProto) {
			field(f, "Completed", "reason").JsonName = proto.String("why")
		}, `Completed.reason is "why" in JSON`},
		"a message removed": {func(f *descriptorpb.FileDescriptorProto) {
			s := f.Service[0]
			s.Method = s.Method[:len(s.Method)-1]
			f.MessageType = f.MessageType[:len(f.MessageType)-1]
		}, "DrainResponse is gone"},
		"a method removed": {func(f *descriptorpb.FileDescriptorProto) {
			s := f.Service[0]
			s.Method = s.Method[:len(s.Method)-1]
		}, "Scanner.Drain is gone"},
		"another answer": {func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[0].OutputType = proto.String(".securetag.plugin.v1.DrainResponse")
		}, "Scanner.Describe is"},
		"a stream no more": {func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[2].ServerStreaming = proto.Bool(false)
		}, "Scanner.Scan is"},
		"an enum value removed": {func(f *descriptorpb.FileDescriptorProto) {
			e := f.EnumType[0]
			e.Value = e.Value[:len(e.Value)-1]
		}, "INPUT_URL is gone"},
		"an enum value renumbered": {func(f *descriptorpb.FileDescriptorProto) {
			e := f.EnumType[0]
			e.Value[len(e.Value)-1].Number = proto.Int32(9)
		}, "INPUT_URL has the number 9, it was 2"},
		"a nested enum removed": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Log").EnumType = nil
			field(f, "Log", "level").Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
			field(f, "Log", "level").TypeName = nil
		}, "Log.Level is gone"},
		"additions": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Completed")
			m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{Name: proto.String("new"), JsonName: proto.String("new"), Number: proto.Int32(77),
				Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()})
			e := f.EnumType[0]
			e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("INPUT_NEW"), Number: proto.Int32(3)})
			f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("New")})
			f.Service[0].Method = append(f.Service[0].Method, &descriptorpb.MethodDescriptorProto{Name: proto.String("New"),
				InputType: proto.String(".securetag.plugin.v1.New"), OutputType: proto.String(".securetag.plugin.v1.New")})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, changed := frozen(t), frozen(t)
			for _, f := range changed.File {
				if f.GetName() == contractFile {
					tt.change(f)
				}
			}
			got := strings.Join(breaking(resolve(t, old), resolve(t, changed)), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// breaking lists what is in old and not, or not the same, in now.
func breaking(old, now protoreflect.FileDescriptor) []string {
	b := &breaks{}
	if old.Package() != now.Package() {
		b.add("the package is %s, it was %s", now.Package(), old.Package())
	}
	b.messages(old.Messages(), now.Messages())
	b.enums(old.Enums(), now.Enums())
	for i := range old.Services().Len() {
		s := old.Services().Get(i)
		n := now.Services().ByName(s.Name())
		if n == nil {
			b.add("%s is gone", s.FullName())
			continue
		}
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			switch c := n.Methods().ByName(m.Name()); {
			case c == nil:
				b.add("%s is gone", m.FullName())
			case signature(c) != signature(m):
				b.add("%s is %s, it was %s", m.FullName(), signature(c), signature(m))
			}
		}
	}
	return b.list
}

type breaks struct{ list []string }

func (b *breaks) add(format string, args ...any) {
	b.list = append(b.list, fmt.Sprintf(format, args...))
}

func signature(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("(%s, stream %t) returns (%s, stream %t)", m.Input().FullName(), m.IsStreamingClient(), m.Output().FullName(), m.IsStreamingServer())
}

func (b *breaks) messages(old, now protoreflect.MessageDescriptors) {
	for i := range old.Len() {
		m := old.Get(i)
		n := now.ByName(m.Name())
		if n == nil {
			b.add("%s is gone", m.FullName())
			continue
		}
		for j := range m.Fields().Len() {
			b.field(m.Fields().Get(j), n.Fields())
		}
		b.messages(m.Messages(), n.Messages())
		b.enums(m.Enums(), n.Enums())
	}
}

func (b *breaks) field(f protoreflect.FieldDescriptor, now protoreflect.FieldDescriptors) {
	n := now.ByName(f.Name())
	if n == nil {
		b.add("%s is gone", f.FullName())
		return
	}
	if n.Number() != f.Number() {
		b.add("%s has the number %d, it was %d", f.FullName(), n.Number(), f.Number())
	}
	if kind(n) != kind(f) {
		b.add("%s is %s, it was %s", f.FullName(), kind(n), kind(f))
	}
	if n.Cardinality() != f.Cardinality() {
		b.add("%s is %s, it was %s", f.FullName(), n.Cardinality(), f.Cardinality())
	}
	if n.JSONName() != f.JSONName() {
		b.add("%s is %q in JSON, it was %q", f.FullName(), n.JSONName(), f.JSONName())
	}
	if oneof(n) != oneof(f) {
		b.add("%s is in the oneof %q, it was in %q", f.FullName(), oneof(n), oneof(f))
	}
	if n.HasPresence() != f.HasPresence() {
		b.add("%s has another presence", f.FullName())
	}
}

func (b *breaks) enums(old, now protoreflect.EnumDescriptors) {
	for i := range old.Len() {
		e := old.Get(i)
		n := now.ByName(e.Name())
		if n == nil {
			b.add("%s is gone", e.FullName())
			continue
		}
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			switch c := n.Values().ByName(v.Name()); {
			case c == nil:
				b.add("%s is gone", v.FullName())
			case c.Number() != v.Number():
				b.add("%s has the number %d, it was %d", v.FullName(), c.Number(), v.Number())
			}
		}
	}
}

// kind is the type of a field, by name where it has one.
func kind(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil && f.IsMap():
		return "map<" + kind(f.MapKey()) + ", " + kind(f.MapValue()) + ">"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func oneof(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return string(o.Name())
	}
	return ""
}

// frozen reads the frozen copy. It has fields of buf's own, which say nothing
// of the contract.
func frozen(t *testing.T) *descriptorpb.FileDescriptorSet {
	t.Helper()
	text, err := os.ReadFile(frozenFile)
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := (prototext.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, set); err != nil {
		t.Fatalf("%s: %v", frozenFile, err)
	}
	return set
}

func resolve(t *testing.T, set *descriptorpb.FileDescriptorSet) protoreflect.FileDescriptor {
	t.Helper()
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.FindFileByPath(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func message(f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
	for _, m := range f.MessageType {
		if m.GetName() == name {
			return m
		}
	}
	panic("the frozen contract has no message " + name)
}

func field(f *descriptorpb.FileDescriptorProto, in, name string) *descriptorpb.FieldDescriptorProto {
	for _, x := range message(f, in).Field {
		if x.GetName() == name {
			return x
		}
	}
	panic("the frozen contract has no field " + in + "." + name)
}
