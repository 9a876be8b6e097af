// A BullMQ worker that does nothing but mark the task running and completed.
import { Worker } from 'bullmq';
import { newPool, nowMicros, redisOpts, QUEUE } from './settings.mjs';

const pool = newPool();
const worker = new Worker(QUEUE, async (job) => {
  const start = nowMicros();
  await pool.query("update tasks set status='running', started_at=to_timestamp($2::float8/1e6) where id=$1", [job.data.taskId, start]);
  await pool.query("update tasks set status='completed', completed_at=clock_timestamp() where id=$1", [job.data.taskId]);
}, { connection: redisOpts, concurrency: 50 });
worker.on('error', (e) => console.error('worker error', e));
worker.on('failed', (j, e) => console.error('failed', j?.id, e));
await worker.waitUntilReady();
await pool.query('select 1');
console.log('ready');
process.on('SIGTERM', () => { worker.close().then(() => pool.end()).then(() => process.exit(0)); });
