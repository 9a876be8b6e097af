package conformance

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// found is minded for checks that mean nothing where nothing was found.
func found(id string) judgeFunc {
	return func(k *kit, ctx context.Context) outcome {
		out := minded(id)(k, ctx)
		if out.status == Pass && k.found() == 0 {
			return notApplicable("no scan found anything; name a directory in which it does with --sample")
		}
		return out
	}
}

func (k *kit) found() uint64 {
	var n uint64
	for _, t := range k.seen.by {
		n += t.found
	}
	return n
}

func (k *kit) completedOnce(ctx context.Context) outcome {
	out := minded("events.completed")(k, ctx)
	if out.status != Pass {
		return out
	}
	for _, t := range k.seen.by {
		if t.completed != nil {
			return pass()
		}
	}
	return notApplicable("no scan came to an end")
}

func (k *kit) artifactsValid(ctx context.Context) outcome {
	out := minded("artifacts.valid")(k, ctx)
	if out.status != Pass {
		return out
	}
	for _, t := range k.seen.by {
		if len(t.artifacts) > 0 {
			return out
		}
	}
	return notApplicable("no scan produced an artifact")
}

// wireOf is a message as it is compared: equal messages give equal text.
func wireOf(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
