-- Account.Sync of package lease, as one atomic step: reads the account, takes in
-- a report, writes what has changed, tells who should sync, answers. The Go form
-- explains why; this one has the same functions under the same names, and must
-- give the same answers. Moments and times are microseconds, flags are 0 or 1.
--
-- Numbers are doubles: whole ones are exact up to 2^53. No result depends on
-- the order in which pairs() goes through a table.

local floor, max, min, sort = math.floor, math.max, math.min, table.sort

local KEPT, GRACE, PATIENCE, LEAP, SLACK = 3000000, 1000000, 4000, 1000000, 250000
local CLASSES, USUAL = 8, 4 -- classes are counted from 1 here
local LESSONS = 64 -- limits of which it is kept what was learned
local IDLE = 25 * 3600 * 1000000 -- how long an account stays that nobody syncs

-- A member is one flat row: a head, its stakes, its facts. A stake begins with
-- its limit, a fact with its upstream.
local STAKES, FACTS, HOST, SEQ, LAST, DRIFT, DEAD = 1, 2, 3, 4, 5, 6, 7
local ROUND, SURE, BORN, WOKEN, MISSED, HEAD = 8, 9, 10, 11, 12, 12
local HOLD, N, LINGER, WANT, NEED, SINCE, ASKED, TOLD, GONE = 1, 2, 3, 3, 12, 13, 14, 15, 16
local SUM, FIRST, STAKE = 17, 18, 19 -- of what it wants: the sum, and the first class
local GENERATION, THROTTLED, FAILED, SUCCEEDED, FACT = 1, 2, 3, 4, 5

local a -- the account: state for the time of one call

-- A function's rows outlive the call, with the bytes they came from, so that only
-- what others have changed since is parsed. Scripts begin with none.
local KEEP = 64 -- accounts
local kept, keeps = {}, 0

-- codec returns functions that turn a row into bytes and back. A row begins with
-- how many it has of two kinds of entries. Each number takes 8 bytes, whatever
-- its size.
local function codec(head, first, second)
  local formats = {}
  local function format(x, y)
    local key = x * 65536 + y
    local f = formats[key]
    if not f then
      f = '<HH' .. head .. first:rep(x) .. second:rep(y)
      formats[key] = f
    end
    return f
  end
  local function pack(row)
    return struct.pack(format(row[1], row[2]), unpack(row))
  end
  local function parse(bytes)
    local x, y = struct.unpack('<HH', bytes)
    local row = {struct.unpack(format(x, y), bytes)}
    row[#row] = nil -- where the next would begin
    return row
  end
  return pack, parse
end

local pack_member, parse_member = codec('s' .. ('d'):rep(HEAD - HOST), 's' .. ('d'):rep(STAKE - 1), 's' .. ('d'):rep(FACT - 1))
local pack_lessons, parse_lessons = codec('', 'sdd', '')
local pack_account, parse_account = codec('ddddddd', 'sdddd', 'sdddds')

-- load reads the account.
local function load(key)
  local known = kept[key]
  if not known then
    known = {bytes = {}, members = {}}
    keeps = keeps + 1
  end
  kept[key] = nil -- what a call that fails has done to rows is not stored
  a = {now = 0, skew = 0, pause = 0, repair = 0, heed = 0, round = 0, expect = 0,
    members = {}, bytes = {}, pools = {}, records = {}, lessons = {}, dirty = {}, held = {}}
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local name, bytes = fields[i], fields[i + 1]
    if name == 'lessons' then
      local row = parse_lessons(bytes)
      for at = 3, 3 * row[1], 3 do
        a.lessons[row[at]] = {learned = row[at + 1], refusals = row[at + 2]}
      end
    elseif name ~= 'account' then
      a.bytes[name] = bytes
      a.members[name] = known.bytes[name] == bytes and known.members[name] or parse_member(bytes)
    else
      local row = parse_account(bytes)
      a.now, a.skew, a.pause, a.repair, a.heed, a.round, a.expect = unpack(row, 3, 9)
      local at = 10
      for _ = 1, row[1] do
        a.pools[row[at]] = {n = row[at + 1], full = row[at + 2], level = row[at + 3], at = row[at + 4]}
        at = at + 5
      end
      for _ = 1, row[2] do
        a.records[row[at]] = {generation = row[at + 1], open = row[at + 2], cause = row[at + 3],
          till = row[at + 4], prober = row[at + 5]}
        at = at + 6
      end
    end
  end
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  sort(names)
  return names
end

-- store writes what has changed. The account lives on for IDLE, and longer if
-- a pause does or what was used counts for longer.
local function store(key, now)
  local row = {0, 0, a.now, a.skew, a.pause, a.repair, a.heed, a.round, a.expect}
  for _, limit in ipairs(sorted(a.pools)) do
    local p = a.pools[limit]
    row[1] = row[1] + 1
    for _, v in ipairs({limit, p.n, p.full, p.level, p.at}) do
      row[#row + 1] = v
    end
  end
  for _, upstream in ipairs(sorted(a.records)) do
    local r = a.records[upstream]
    row[2] = row[2] + 1
    for _, v in ipairs({upstream, r.generation, r.open, r.cause, r.till, r.prober}) do
      row[#row + 1] = v
    end
  end
  redis.call('HSET', key, 'account', pack_account(row))
  if a.taught then
    row = {0, 0}
    for _, limit in ipairs(sorted(a.lessons)) do
      local l = a.lessons[limit]
      row[1] = row[1] + 1
      row[#row + 1], row[#row + 2], row[#row + 3] = limit, l.learned, l.refusals
    end
    redis.call('HSET', key, 'lessons', pack_lessons(row))
  end
  for id in pairs(a.dirty) do
    local m = a.members[id]
    if m then
      a.bytes[id] = pack_member(m)
      redis.call('HSET', key, id, a.bytes[id])
    else
      redis.call('HDEL', key, id)
    end
  end
  local left = max(a.pause - now, 0)
  for _, m in pairs(a.members) do
    for at = HEAD + 1, HEAD + m[STAKES] * STAKE, STAKE do
      left = max(left, m[at + LINGER])
    end
  end
  redis.call('PEXPIRE', key, floor((IDLE + left) / 1000))
  if keeps > KEEP then
    kept, keeps = {}, 1
  end
  kept[key] = a
end

-- stake_of returns where a member's stake in a limit begins; nil if it has none.
local function stake_of(m, limit)
  for at = HEAD + 1, HEAD + m[STAKES] * STAKE, STAKE do
    if m[at] == limit then
      return at
    end
  end
end

-- open_stake adds a stake without anything to a member, and returns where it
-- begins.
local function open_stake(m, limit)
  local at = HEAD + m[STAKES] * STAKE + 1
  for i = #m, at, -1 do
    m[i + STAKE] = m[i]
  end
  m[at] = limit
  for i = 1, STAKE - 1 do
    m[at + i] = 0
  end
  m[STAKES] = m[STAKES] + 1
  return at
end

local function close_stake(m, at)
  local size = #m
  for i = at, size do
    m[i] = m[i + STAKE] -- nil at the end
  end
  m[STAKES] = m[STAKES] - 1
end

-- fact_of returns where what a member knows of an upstream begins.
local function fact_of(m, upstream)
  local first = HEAD + m[STAKES] * STAKE + 1
  for at = first, first + (m[FACTS] - 1) * FACT, FACT do
    if m[at] == upstream then
      return at
    end
  end
end
