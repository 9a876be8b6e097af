// Package postgrestest fills a database for tests and benchmarks with more than
// one would make through the store.
package postgrestest

import "fmt"

// Projects is SQL that makes so many projects of a tenant, named p1, p2 and so on,
// with so many findings each. The tenant is there.
func Projects(tenant string, projects, findings int) string {
	return fmt.Sprintf(`
insert into projects (id, tenant_id, name, held) select gen_random_uuid(), '%[1]s', 'p' || n, %[3]d from generate_series(1, %[2]d) n;
insert into project_findings (id, tenant_id, project_id, plugin, rule_id, fingerprint, occurrence, content, state, decided_at, decided_scan, scope,
    first_scan, first_seen, last_scan, last_seen, finding_id, job_id, severity, title, message, detail, place, line, digest)
select gen_random_uuid(), p.tenant_id, p.id, 'secrets', 'rule-' || n %% 50, 'v1:' || md5(n::text) || md5(p.name), 1, md5(n::text),
    (array['new', 'unchanged', 'updated', 'absent'])[1 + n %% 4], now(), gen_random_uuid(), 's',
    gen_random_uuid(), now(), gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), n %% 6, 'A title of usual length', repeat('message ', 20),
    '{"location":{"path":"src/dir/file.go","start_line":1},"snippet":"' || repeat('x', 200) || '"}', 'src/dir' || n %% 1000 || '/file.go', n, md5(n::text)
from projects p, generate_series(1, %[3]d) n where p.tenant_id = '%[1]s';
analyze project_findings`, tenant, projects, findings)
}
