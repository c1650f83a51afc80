// The API of a service of this kind as one writes it in an afternoon: fastify, a token checked, a phone number parsed, the
// blacklist and seven limits looked at in one script of Redis, and a BullMQ job. PROCESSES of them share a port. Prints a
// token for it, and where it listens.
//   REDIS_URL=redis://... PROCESSES=4 node api.js

import cluster from 'node:cluster';
import { createHmac, randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import jwt from '@fastify/jwt';
import { Queue } from 'bullmq';
import fastify from 'fastify';
import { Redis } from 'ioredis';
import parsePhoneNumber from 'libphonenumber-js';

const SECRET = 'a-secret-of-the-bench-of-more-than-32-bytes';
const TTL_SECONDS = 600;
const DAY = 86_400;
const processes = Number(process.env.PROCESSES ?? 4);
const BODY = {
  type: 'object',
  required: ['phone', 'purpose', 'client_ip'],
  properties: { phone: { type: 'string' }, purpose: { type: 'string' }, client_ip: { type: 'string' } },
};

if (cluster.isPrimary) {
  let listening = 0;
  for (let i = 0; i < processes; i += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
  cluster.on('listening', (_, { port }) => {
    listening += 1;
    if (listening === processes) console.log(`listening on http://127.0.0.1:${port}`);
  });
} else {
  await serve();
}

async function serve() {
  const redis = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null, enableAutoPipelining: true });
  redis.defineCommand('checks', { lua: readFileSync(new URL('checks.lua', import.meta.url), 'utf8') });
  const jobs = new Queue('sms', { connection: new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null }) });
  const app = fastify();
  app.register(jwt, { secret: SECRET, verify: { algorithms: ['HS256'] } });
  app.addHook('onRequest', (request) => request.jwtVerify());
  app.post('/v1/verifications', { schema: { body: BODY } }, async (request, reply) => {
    const { phone, purpose, client_ip: ip } = request.body;
    const parsed = parsePhoneNumber(phone, 'CN');
    if (!parsed?.isValid()) return reply.code(422).send({ error: 'invalid_phone' });
    const to = parsed.number;
    const id = randomUUID();
    const code = String(randomInt(1_000_000)).padStart(6, '0');
    const hash = createHmac('sha256', SECRET).update(`${id}${code}`).digest('base64');
    const blacklist = [`phone:${to}`, `ip:${ip}`];
    const limits = limitsOf(to, purpose, ip, request.user.sub);
    const keys = ['blacklist', `code:${id}`, ...limits.map(({ key }) => key)];
    const said = await redis.checks(
      keys.length, ...keys,
      JSON.stringify({ to, purpose, hash, attempts: 0 }), TTL_SECONDS, blacklist.length, ...blacklist,
      ...limits.flatMap(({ quota, seconds }) => [quota, seconds]),
    );
    if (said === 'blacklisted') return reply.code(403).send({ error: said });
    if (said === 'limited') return reply.code(429).send({ error: said });
    const job = { id, to, purpose, code, expires_at: Date.now() + TTL_SECONDS * 1000 };
    await jobs.add('code', job, { jobId: id, attempts: 5, backoff: { type: 'exponential', delay: 1000 } });
    return reply.code(202).send({ id, expires_in: TTL_SECONDS });
  });
  await app.ready();
  if (cluster.worker.id === 1) console.log(`token ${app.jwt.sign({ sub: 'shop' })}`);
  await app.listen({ host: '127.0.0.1', port: 0 });
}

// The same scopes and quotas as the bench gives Postrider.
function limitsOf(phone, purpose, ip, account) {
  return [
    { key: `limit:phone:${phone}:${purpose}:minute`, quota: 1, seconds: 60 },
    { key: `limit:phone:${phone}:${purpose}`, quota: 5, seconds: 3600 },
    { key: `limit:phone:${phone}`, quota: 30, seconds: DAY },
    { key: `limit:ip:${ip}`, quota: 20, seconds: 60 },
    { key: `limit:account:${account}`, quota: 100_000_000, seconds: 3600 },
    { key: `limit:prefix:${phone.slice(0, -4)}`, quota: 1_000_000, seconds: 3600 },
    { key: 'limit:all', quota: 100_000_000, seconds: 60 },
  ];
}
