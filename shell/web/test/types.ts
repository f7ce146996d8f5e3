// Compiled, never run: the types fit what the documentation shows.
import Steadfast = require('../steadfast');

const link = new Steadfast({
  key: '7',
  urls: ['wss://a.example.org/', 'wss://b.example.org/'],
  token: () => 'a.b.c',
  maxAttempts: 10,
  onMessage: (data, meta) => console.log(data.length, meta.id, meta.tries),
  onStateChange: (state, old) => { if (state === 'fallback') { console.log(old); } },
  onWelcomed: ({ lost }) => console.log(lost)
}).connect();
link.update({ page: 3, tags: ['a', null] });
const share: number = link.getStatistics().availabilityPercent;
console.log(share, link.getState(), link.getContext());
link.close();
