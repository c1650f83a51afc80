// The worker of a service of this kind as one writes it in an afternoon: BullMQ jobs, each a call of the provider, tried again
// with exponential back-off, and a row of what came of it. PROCESSES of them share the queue. Without DATABASE_URL no rows are
// written: what came of a job is then only in Redis.
//   REDIS_URL=redis://... DATABASE_URL=postgres://... PROVIDER_URL=http://... PROCESSES=4 CONCURRENCY=250 node worker.js

import cluster from 'node:cluster';
import { createHmac, randomUUID } from 'node:crypto';
import { UnrecoverableError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Agent, request } from 'undici';

const processes = Number(process.env.PROCESSES ?? 4);
const concurrency = Number(process.env.CONCURRENCY ?? 250);
const SECRET = 'secret';
const TABLE = `CREATE TABLE IF NOT EXISTS usual_sms_log (
  id uuid PRIMARY KEY, phone text NOT NULL, purpose text NOT NULL, provider_id text NOT NULL, status text NOT NULL,
  attempts integer NOT NULL, created_at timestamptz NOT NULL, finished_at timestamptz NOT NULL DEFAULT now())`;
const INDEX = 'CREATE INDEX IF NOT EXISTS usual_sms_log_phone ON usual_sms_log (phone, created_at)';
const ROW = {
  name: 'row',
  text: `INSERT INTO usual_sms_log (id, phone, purpose, provider_id, status, attempts, created_at)
    VALUES ($1, $2, $3, $4, 'sent', $5, to_timestamp($6 / 1000.0)) ON CONFLICT (id) DO NOTHING`,
};

const rows = process.env.DATABASE_URL && new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

if (cluster.isPrimary) {
  await rows?.query(`${TABLE}; ${INDEX}`);
  await rows?.end();
  for (let i = 0; i < processes; i += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  work();
}

function work() {
  const agent = new Agent({ connections: concurrency });
  const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
  const carry = async (job) => {
    const answered = await send(job.data, agent);
    const { id, to, purpose } = job.data;
    await rows?.query({ ...ROW, values: [id, to, purpose, answered, job.attemptsMade + 1, job.timestamp] });
    return answered;
  };
  new Worker('sms', carry, { connection, concurrency });
}

async function send(job, dispatcher) {
  if (Date.now() > job.expires_at) throw new UnrecoverableError('expired');
  const query = new URLSearchParams({
    Action: 'SendSms', PhoneNumbers: job.to, SignName: 'Shop', TemplateCode: 'SMS_CODE',
    TemplateParam: JSON.stringify({ code: job.code }), OutId: job.id,
  }).toString();
  const nonce = randomUUID();
  const signature = createHmac('sha256', SECRET).update(`${nonce}\n${query}`).digest('hex');
  const headers = { 'x-acs-signature-nonce': nonce, authorization: `ACS3-HMAC-SHA256 Signature=${signature}` };
  const url = `${process.env.PROVIDER_URL}?${query}`;
  const { body } = await request(url, { method: 'POST', headers, dispatcher, headersTimeout: 10_000 });
  const answer = await body.json();
  if (answer.Code !== 'OK') throw new Error(answer.Code);
  return answer.BizId;
}
