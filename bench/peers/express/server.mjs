// The stack that SecureTag replaces: Express, multer on disk, pg, ioredis,
// BullMQ and express-rate-limit on Redis (with a limit that nobody reaches).
import express from 'express';
import multer from 'multer';
import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { rateLimit } from 'express-rate-limit';
import { RedisStore } from 'rate-limit-redis';
import { newPool, newRedis, redisOpts, QUEUE, jobOpts } from './settings.mjs';

const app = express();
app.disable('x-powered-by');
const pool = newPool();
const limits = newRedis();
const queue = new Queue(QUEUE, { connection: redisOpts });
await queue.waitUntilReady();

const limiter = rateLimit({
  windowMs: 60_000, limit: 1_000_000_000, standardHeaders: 'draft-7', legacyHeaders: false,
  store: new RedisStore({ sendCommand: (c, ...a) => limits.call(c, ...a) }),
});
const storage = multer.diskStorage({
  destination: process.env.UPLOAD_DIR,
  filename: (req, file, cb) => { req.taskId = randomUUID(); cb(null, req.taskId + '.zip'); },
});
const upload = multer({ storage, limits: { fileSize: 100 << 20 } });

app.post('/codeaudit/upload', limiter, upload.single('file'), async (req, res) => {
  const f = req.file;
  if (!f) return res.status(400).json({ error: 'file missing' });
  await pool.query(
    'insert into tasks(id,status,filename,path,size_bytes) values ($1,$2,$3,$4,$5)',
    [req.taskId, 'queued', f.originalname, f.path, f.size]);
  await queue.add('audit', { taskId: req.taskId, path: f.path }, jobOpts);
  res.status(202).json({ id: req.taskId, status: 'queued' });
});
const srv = app.listen(+process.env.HTTP_PORT, '127.0.0.1', () => console.log('ready'));
process.on('SIGTERM', () => {
  srv.close();
  srv.closeAllConnections();
  Promise.allSettled([queue.close(), pool.end(), limits.quit()]).then(() => process.exit(0));
});
