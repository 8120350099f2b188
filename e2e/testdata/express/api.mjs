// An API that express-rate-limit holds to 80 requests per 2 s and client, and
// tells so in the header fields of the draft that the command line names. It
// prints its port. /counted is not limited, and tells when each other request
// came, in ms, and how it was answered: [[at, status], …].
import express from 'express';
import { rateLimit } from 'express-rate-limit';

const counted = [];
const app = express();
app.get('/counted', (req, res) => res.json(counted));
app.use((req, res, next) => {
  const at = performance.now();
  res.on('close', () => counted.push([at, res.statusCode]));
  next();
});
app.use(rateLimit({ windowMs: 2000, limit: 80, standardHeaders: process.argv[2], legacyHeaders: false }));
app.get('/', (req, res) => setTimeout(() => res.send('ok'), 10 + 20 * Math.random()));
const server = app.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
