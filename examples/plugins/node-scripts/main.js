// A useful scanner in Node.js: it finds packages that run code when they are
// installed, or come from where no registry vouches for them.
import { bytes, main } from 'securetag-sdk'

const hooks = ['preinstall', 'install', 'postinstall', 'prepare']

await main({
  name: 'node-scripts',
  version: '0.1.0',
  description: 'Finds install scripts and unpinned sources in package.json.',
  consumes: ['tree'],
  rules: [
    { id: 'install-script', title: 'Package runs a script when it is installed', severity: 'medium', cwe: [829] },
    { id: 'remote-dependency', title: 'Dependency that no registry vouches for', severity: 'high', cwe: [494] },
  ],
  config: { max_file_size: bytes({ default: '1MiB', min: 1, doc: 'Larger files are left out.' }) },
  async scan(config, target, out) {
    for await (const file of target.files()) {
      if (!/(^|\/)package\.json$/.test(file.path) || file.size > config.max_file_size) continue
      const text = (await file.read(config.max_file_size)).toString()
      let manifest
      try {
        manifest = JSON.parse(text) ?? {}
      } catch {
        out.note('is not JSON', { path: file.path })
        continue
      }
      const lineOf = (name) => text.slice(0, Math.max(text.indexOf(JSON.stringify(name)), 0)).split('\n').length
      const report = (rule, name, message) =>
        out.finding(rule, { message, at: { path: file.path, startLine: lineOf(name) }, identity: [name] })
      for (const hook of hooks) {
        if (manifest.scripts?.[hook]) await report('install-script', hook, `runs "${manifest.scripts[hook]}" on ${hook}`)
      }
      for (const [name, from] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
        if (/^(git|https?:|github:)/.test(String(from))) await report('remote-dependency', name, `${name} comes from ${from}`)
      }
      out.scanned(1, file.size)
    }
  },
})

