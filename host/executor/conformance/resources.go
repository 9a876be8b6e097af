package conformance

import (
	"context"
)

func resourceChecks() []check {
	return []check{
		must("resources.memory", configured, "Scans stay within memory: what it requires, or 512 MiB",
			"Read files in pieces, bound what is kept, or say in requirements.memory_bytes what is needed.",
			contract("Requirements.memory_bytes"), (*kit).boundsMemory),
		must("resources.processes", configured, "It starts other processes only when it says so",
			"Set requirements.spawns_processes: a host may forbid what is not asked for.",
			contract("Requirements.spawns_processes"), (*kit).declaresChildren),
		should("resources.files", configured, "Scan after scan leaves no more files open",
			"Close every file and connection that a scan opened, also when it fails.",
			contract("Scan"), (*kit).closesFiles),
	}
}

const defaultMemory = 512 << 20

func (k *kit) boundsMemory(ctx context.Context) outcome {
	all, err := k.transcripts(ctx)
	if err != nil {
		return k.trouble(err)
	}
	limit := k.opts.Memory
	if limit == 0 {
		limit = int64(min(k.desc.GetRequirements().GetMemoryBytes(), 1<<50))
	}
	def(&limit, defaultMemory)
	known := false
	for _, t := range all {
		known = known || t.usage.known
		if t.usage.memory > limit {
			return failed("%s: %d MiB, and the limit is %d MiB", t.what, t.usage.memory>>20, limit>>20)
		}
	}
	if !known {
		return notApplicable("this system does not tell")
	}
	return pass()
}

func (k *kit) declaresChildren(ctx context.Context) outcome {
	all, err := k.transcripts(ctx)
	if err != nil {
		return k.trouble(err)
	}
	if k.desc.GetRequirements().GetSpawnsProcesses() {
		return pass()
	}
	known := false
	for _, t := range all {
		known = known || t.usage.known
		if t.usage.children > 0 {
			return failed("%s: %d processes below it, and spawns_processes is false", t.what, t.usage.children)
		}
	}
	if !known {
		return notApplicable("this system does not tell")
	}
	return pass()
}

// spareFiles is how many files may be open after many scans that were not
// after the first: runtimes open some when they first need them.
const spareFiles = 6

func (k *kit) closesFiles(ctx context.Context) outcome {
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	r, err := k.ordinary()
	if err != nil {
		return k.trouble(err)
	}
	before := 0
	for i := range k.opts.LeakScans {
		t, err := k.scan(ctx, p, r)
		if err != nil {
			return k.trouble(err)
		}
		if t.died != "" || t.timedOut {
			return notApplicable("scan %d of the sample: %s", i+1, t.ended())
		}
		if i == 1 {
			var ok bool
			if before, ok = openFiles(p.PID()); !ok {
				return notApplicable("this system does not tell")
			}
		}
	}
	if after, ok := openFiles(p.PID()); ok && after > before+spareFiles {
		return failed("%d files open after 2 scans, and %d after %d", before, after, k.opts.LeakScans)
	}
	return pass()
}

// ordinary is a scan of the sample, or of what there is instead.
func (k *kit) ordinary() (request, error) {
	r, err := k.smallest()
	if r.tree != nil {
		r.tree, err = k.tree(sampleTree)
	}
	return r, err
}
