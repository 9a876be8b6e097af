// Package storetest is the conformance suite of host.Store. Every
// implementation runs it in its own tests; what a Store promises is in the
// comments of host/store.go, and a new promise gets its test here first.
//
// Operations that are global (Dispatch, Expire, ReleaseOwner) see everything
// in the store, so each test gets an empty one.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Harness is an empty store and its clock.
type Harness struct {
	Store host.Store
	// Advance makes the store believe that d has passed. Called while nothing
	// else uses the store.
	Advance func(d time.Duration)
	// Another opens the same store once more, as another host would, and closes
	// it at the end of the test.
	Another func() host.Store
	// Rows counts a tenant's rows in every table that the schema gives a
	// tenant_id; tables without any are left out.
	Rows func(t *testing.T, tenant host.TenantID) map[string]int
}

// Run runs the whole suite. open gives an empty store and closes it at the end
// of its test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	groups := map[string]map[string]func(*suite){
		"tenants": {
			"tenants":        testTenants,
			"keys":           testKeys,
			"keys end":       testKeysEnd,
			"key isolation":  testKeyIsolation,
			"terms":          testTerms,
			"key last used":  testKeyLastUsed,
			"hostile string": testHostileStrings,
		},
		"scans": {
			"accept":            testAccept,
			"accept many":       testAcceptMany,
			"accept refuses":    testAcceptRefuses,
			"archive data":      testArchiveData,
			"list":              testScansList,
			"isolation":         testScanIsolation,
			"cancel queued":     testCancelQueued,
			"cancel running":    testCancelRunning,
			"cancel final":      testCancelFinal,
			"cancel some":       testCancelSome,
			"derived from two":  testDeriveTwo,
			"derived from many": testDeriveThree,
		},
		"jobs": {
			"transitions":         testTransitions,
			"claim":               testClaim,
			"claim leaves out":    testClaimLeavesOut,
			"claim again":         testClaimAgain,
			"claim old doorbell":  testClaimOldDoorbell,
			"fence":               testFence,
			"zombie":              testZombie,
			"heartbeat":           testHeartbeat,
			"heartbeat expired":   testHeartbeatExpired,
			"retry":               testRetry,
			"retry used up":       testRetryUsedUp,
			"retry when canceled": testRetryWhenCanceled,
			"release":             testRelease,
			"release owner":       testReleaseOwner,
			"released later":      testReleasedLater,
			"poison host":         testPoisonHost,
			"finish refuses":      testFinishRefuses,
			"finish twice":        testFinishTwice,
			"finish many":         testFinishMany,
			"remarks":             testRemarks,
			"expire requeues":     testExpireRequeues,
			"expire ends":         testExpireEnds,
			"expire limit":        testExpireLimit,
			"taken":               testTaken,
			"deadline is total":   testDeadlineTotal,
			"deadline of each":    testDeadlineOfEach,
			"canceled never runs": testCancelNeverRetries,
		},
		"dispatch": {
			"window":        testDispatchWindow,
			"horizon":       testDispatchHorizon,
			"undispatch":    testUndispatch,
			"backoff":       testDispatchBackoff,
			"overdue":       testDispatchOverdue,
			"by plugin":     testDispatchPlugins,
			"fair":          testDispatchFair,
			"several hosts": testDispatchConcurrent,
		},
		"claim at once": {
			"claims":        testAtOnce,
			"order":         testAtOnceOrder,
			"leaves out":    testAtOnceLeavesOut,
			"caps":          testAtOnceCaps,
			"archive data":  testAtOnceArchive,
			"several hosts": testAtOnceConcurrent,
		},
		"fairness": {
			"shares":          testShares,
			"newcomer":        testFairNewcomer,
			"burst":           testFairBurst,
			"weights":         testFairWeights,
			"priorities":      testFairPriorities,
			"tenant cap":      testCapTenant,
			"plugin and type": testCapPluginAndType,
			"plugin is gone":  testCapGone,
			"plan shares":     testPlanShares,
			"plan weights":    testPlanWeights,
			"lanes rest":      testLanesRest,
			"lanes cancel":    testLanesCancel,
		},
		"pauses": {
			"list":         testPauses,
			"dispatch":     testPauseDispatch,
			"window":       testPauseWindow,
			"claim":        testPauseClaim,
			"leaves alone": testPauseLeaves,
		},
		"access": {
			"scopes":            testScopes,
			"rotate":            testRotateKey,
			"good keys":         testGoodKeys,
			"suspend":           testSuspend,
			"delete":            testDeleteTenant,
			"delete in batches": testDeleteTenantBatches,
			"audit":             testAudit,
			"audit is kept":     testAuditKept,
		},
		"operators": {
			"keys":     testOperatorKeys,
			"keys end": testOperatorKeysEnd,
			"apart":    testOperatorKeysApart,
		},
		"dead letters": {
			"which":              testDeadWhich,
			"list":               testDeadList,
			"pages":              testDeadPages,
			"history":            testHistory,
			"history of a host":  testHistoryOfHost,
			"history is bounded": testHistoryBounded,
			"requeue":            testRequeue,
			"requeue refuses":    testRequeueRefuses,
			"requeue some":       testRequeueSome,
			"requeue at once":    testRequeueConcurrent,
			"drop":               testDrop,
		},
		"stats": {
			"parts":                            testStatsParts,
			"queue stats agrees with the rows": testStatsAgree,
		},
		"findings": {
			"round trip":        testFindingRoundTrip,
			"hidden":            testFindingsHidden,
			"stale":             testFindingsStale,
			"sent twice":        testFindingsTwice,
			"pages":             testFindingPages,
			"isolation":         testFindingIsolation,
			"large result":      testFindingsLarge,
			"of one plugin":     testFindingsOfPlugin,
			"hostile":           testFindingsHostile,
			"of a failed retry": testFindingsOfFailedRetry,
			"also found by":     testAlsoFoundBy,
			"also, bounded":     testAlsoFoundByMany,
		},
		"projects": {
			"projects":        testProjects,
			"track":           testTrack,
			"only what ended": testTrackOnly,
			"absent":          testTrackAbsent,
			"late":            testTrackLate,
			"again":           testTrackAgain,
			"several hosts":   testTrackHosts,
			"full":            testTrackFull,
			"triage":          testTriage,
			"gate":            testGateFacts,
			"diff refuses":    testDiffRefuses,
			"pages":           testProjectFindingPages,
			"outlive scans":   testProjectOutlives,
		},
		"artifacts": {
			"delivered":  testArtifacts,
			"fenced":     testArtifactsFenced,
			"refused":    testArtifactsRefused,
			"go with it": testArtifactsGo,
		},
		"retention": {
			"drop scans":            testDropScans,
			"drop large scans":      testDropLargeScans,
			"kept by plan":          testKeptByPlan,
			"kept for ever":         testKeptForEver,
			"kept, many tenants":    testKeptOfMany,
			"kept, and given back":  testKeptGivesBack,
			"drop archives":         testDropArchives,
			"drop archives limit":   testDropArchivesLimit,
			"unused blobs":          testUnusedBlobs,
			"dead letter":           testDeadLetterKeepsArchive,
			"shared blob":           testSharedBlob,
			"origin":                testOrigin,
			"sweepers side by side": testSweepersSideBySide,
		},
		"deletions": {
			"scan":         testDeleteScan,
			"running":      testDeleteRunning,
			"project":      testDeleteProject,
			"dead letter":  testDeleteDead,
			"there first":  testDeletedTwice,
			"side by side": testDeleteSideBySide,

			"scan, what it found":    testDeleteScanFound,
			"not compared":           testDeletedUntracked,
			"project, what it found": testDeleteProjectFound,
			"what webhooks heard":    testDeletedTold,
			"project without scans":  testDeleteProjectEmpty,
			"project being tracked":  testDeleteProjectTracking,
		},
		"webhooks": {
			"webhooks":      testWebhooks,
			"refused":       testWebhooksRefused,
			"versions":      testWebhookVersions,
			"every end":     testOutboxEnds,
			"chosen":        testOutboxChosen,
			"deliveries":    testDeliveries,
			"claim":         testClaimDeliveries,
			"finish":        testFinishDelivery,
			"slows down":    testWebhookSlowsDown,
			"disabled":      testWebhookDisabled,
			"rotate":        testWebhookRotate,
			"several hosts": testWebhooksHosts,
		},
		"targets": {
			"targets": testTargets,
			"refused": testTargetsRefused,
			"checks":  testTargetChecks,
			"due":     testTargetsDue,
			"permit":  testPermit,
		},
		"quotas": {
			"refuses":       testQuotaRefuses,
			"batch":         testQuotaBatch,
			"releases":      testQuotaReleases,
			"retention":     testQuotaRetention,
			"room again":    testQuotaRoomAgain,
			"tidy":          testQuotaTidy,
			"of a job":      testJobLimits,
			"several hosts": testQuotaHosts,
		},
		"once": {
			"again":         testOnce,
			"without room":  testOnceRoom,
			"ends":          testOnceEnds,
			"deleted":       testOnceDeleted,
			"several hosts": testOnceHosts,
		},
		"secrets": {
			"claims": testSecrets,
			"end":    testSecretsEnd,
		},
		"concurrent": {
			"claim":           testConcurrentClaim,
			"finish":          testConcurrentFinish,
			"finish one":      testConcurrentFinishOne,
			"everything":      testConcurrentEverything,
			"context ended":   testContextEnded,
			"after close":     testAfterClose,
			"against a model": testModel,
		},
	}
	for group, tests := range groups {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					h := open(t)
					test(&suite{T: t, Store: h.Store, h: h})
				})
			}
		})
	}
}

// ttl is the lease's length in tests that do not care.
const ttl = time.Minute

// suite is what a test works with.
type suite struct {
	*testing.T
	host.Store
	h Harness
}

func (s *suite) advance(d time.Duration) { s.h.Advance(d) }

func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Claim hands out every job first, as a claim can only be of such.
func (s *suite) Claim(ctx context.Context, owner string, ids []host.JobID, ttl time.Duration) ([]host.Claim, error) {
	all := host.DispatchQuery{Plugins: everyPlugin(), Window: 1 << 20, Horizon: time.Hour}
	if _, err := s.Dispatch(ctx, all); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, owner, ids, ttl)
}

func (s *suite) ctx() context.Context { return s.Context() }

// tenant makes a tenant.
func (s *suite) tenant() host.TenantID {
	s.Helper()
	id := host.NewTenantID()
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: id, Name: "t-" + string(id)}))
	return id
}

// newScan is a scan of a URL with a job for each plugin, not yet accepted.
func newScan(t host.TenantID, plugins ...string) host.Scan {
	scan := host.Scan{ID: host.NewScanID(), TenantID: t, Type: "web", Input: host.Input{URL: "https://example.com/"}}
	for _, p := range plugins {
		scan.Jobs = append(scan.Jobs, host.Job{ID: host.NewJobID(), Plugin: p, MaxAttempts: 3, Timeout: time.Hour})
	}
	return scan
}

// plugins gives n different names.
func plugins(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("plugin-%d", i)
	}
	return out
}

// everyPlugin names all plugins that the suite uses.
func everyPlugin() []string {
	return append(plugins(10), "p", "a", "b", "one", "two", "secrets", "deps", "secrets-2")
}

func (s *suite) accept(scan host.Scan) host.Scan {
	s.Helper()
	out, err := s.Accept(s.ctx(), []host.Scan{scan}, nil)
	s.check(err)
	return out[0]
}

// one accepts a scan with one job.
func (s *suite) one() host.Scan {
	s.Helper()
	return s.accept(newScan(s.tenant(), "p"))
}

func (s *suite) get(scan host.Scan) host.Scan {
	s.Helper()
	out, err := s.Scan(s.ctx(), scan.TenantID, scan.ID)
	s.check(err)
	return out
}

// job reads the scan's first job.
func (s *suite) job(scan host.Scan) host.Job {
	s.Helper()
	return s.get(scan).Jobs[0]
}

func jobIDs(scan host.Scan) []host.JobID {
	var ids []host.JobID
	for _, j := range scan.Jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

// claimAll claims every job of a scan for owner "host-a", in the scan's order.
func (s *suite) claimAll(scan host.Scan) []host.Claim {
	s.Helper()
	s.handOut(scan)
	claims, err := s.Store.Claim(s.ctx(), "host-a", jobIDs(scan), ttl)
	s.check(err)
	byJob := map[host.JobID]host.Claim{}
	for _, c := range claims {
		byJob[c.Job.ID] = c
	}
	out := make([]host.Claim, 0, len(scan.Jobs))
	for _, j := range scan.Jobs {
		c, ok := byJob[j.ID]
		if !ok {
			s.Fatalf("job %s was not claimed", j.ID)
		}
		out = append(out, c)
	}
	return out
}

// handOut hands out the scan's jobs and no others.
func (s *suite) handOut(scan host.Scan) {
	s.Helper()
	q := host.DispatchQuery{Window: 1 << 20, Horizon: time.Hour}
	for _, j := range scan.Jobs {
		q.Plugins = append(q.Plugins, j.Plugin)
	}
	out, err := s.Dispatch(s.ctx(), q)
	s.check(err)
	mine := jobIDs(scan)
	var others []host.JobID
	for _, b := range out.Bells {
		if !slices.Contains(mine, b.Job) {
			others = append(others, b.Job)
		}
	}
	s.check(s.Undispatch(s.ctx(), others))
}

// running accepts a scan with one job and claims it.
func (s *suite) running() (host.Scan, host.Lease) {
	s.Helper()
	scan := s.one()
	return scan, s.claimAll(scan)[0].Lease
}

// end is an outcome with what its state needs.
func end(l host.Lease, state host.State) host.Outcome {
	o := host.Outcome{Lease: l, State: state}
	switch state {
	case host.StateFailed, host.StateTimedOut, host.StateQueued:
		o.Error = &host.JobError{Code: host.CodePluginFailed, Message: "it said so", Attempt: 1}
	}
	return o
}

// finish ends attempts, none of which may be lost.
func (s *suite) finish(outcomes ...host.Outcome) {
	s.Helper()
	lost, err := s.Finish(s.ctx(), outcomes)
	s.check(err)
	if len(lost) > 0 {
		s.Fatalf("lost leases: %v", lost)
	}
}

// wantState compares the scan's first job and the scan.
func (s *suite) wantState(scan host.Scan, job, whole host.State) {
	s.Helper()
	got := s.get(scan)
	if got.Jobs[0].State != job || got.State != whole {
		s.Errorf("job is %s and scan %s, want %s and %s", got.Jobs[0].State, got.State, job, whole)
	}
}

// newFindings makes n findings of a severity.
func newFindings(n int, severity host.Severity) []host.Finding {
	out := make([]host.Finding, n)
	for i := range out {
		out[i] = host.Finding{ID: host.NewFindingID(), RuleID: "r1", Title: "title", Message: fmt.Sprint("message ", i),
			Severity: severity, Confidence: host.ConfidenceHigh, Location: host.Location{Path: "a/b.go", StartLine: i + 1},
			Fingerprint: "v1:00"}
	}
	return out
}

func (s *suite) findings(scan host.Scan, q host.FindingQuery) []host.Finding {
	s.Helper()
	out, err := s.Findings(s.ctx(), scan.TenantID, scan.ID, q)
	s.check(err)
	return out
}

// near reports whether a is b but for the time that a slow machine takes.
func near(a, b time.Duration) bool { return (a - b).Abs() < 20*time.Second }
