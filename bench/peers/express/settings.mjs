// What the server and the worker share.
import pg from 'pg';
import { Redis } from 'ioredis';

export const QUEUE = 'codeaudit';
const [host, port] = process.env.REDIS_ADDR.split(':');
export const redisOpts = { host, port: +port, maxRetriesPerRequest: null };
export const newRedis = () => new Redis(redisOpts);
export const newPool = () => new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20, idleTimeoutMillis: 0 });
// The wall clock, finer than a millisecond.
export const nowMicros = () => (performance.timeOrigin + performance.now()) * 1000;
// BULL_KEEP=0 removes finished jobs; BullMQ keeps them all by default.
export const jobOpts = process.env.BULL_KEEP === '0' ? { removeOnComplete: true, removeOnFail: true } : {};
