-- A stream: what is held are the group's pending entries, by consumer. What was
-- given back is the consumer LEFT's, and goes before what nobody has had.

local STREAM = {type = 'stream'}
local LEFT = 'headgate:left'
local FOREIGN_IDLE = 300000 -- ms

function STREAM.label(_, ref)
  return ref
end

-- ready makes the group if there is none.
function STREAM.ready()
  if redis.pcall('XPENDING', key, group).err then
    redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
  end
end

local function pending(...)
  local answer = redis.pcall('XPENDING', key, group, ...)
  if answer.err then
    return {} -- the stream or the group was deleted, and what was pending with it
  end
  return answer
end

local function claim(consumer, ref, ...)
  return redis.call('XCLAIM', key, group, consumer, 0, ref, ...)[1]
end

function STREAM.next(holder)
  for _, one in ipairs(pending('-', '+', 10, LEFT)) do
    local entry = claim(holder, one[1])
    if entry then
      return entry[1], entry[2], ''
    end
    redis.call('XACK', key, group, one[1]) -- it was trimmed
  end
  local answer = redis.call('XREADGROUP', 'GROUP', group, holder, 'COUNT', 1, 'STREAMS', key, '>')
  local entry = answer and answer[1] and answer[1][2][1]
  if entry then
    return entry[1], entry[2], ''
  end
end

function STREAM.find(holder, ref)
  return pending(ref, ref, 1, holder)[1] and '' or false
end

function STREAM.remove(_, ref)
  redis.call('XACK', key, group, ref)
end

function STREAM.move(from, to, ref)
  if STREAM.find(from, ref) then
    claim(to, ref, 'JUSTID')
  end
end

function STREAM.refs(holder)
  local refs = {}
  for i, one in ipairs(pending('-', '+', 10000, holder)) do
    refs[i] = one[1]
  end
  return refs
end

function STREAM.order() end

function STREAM.back(_, ref)
  claim(LEFT, ref, 'JUSTID')
end

function STREAM.add(parts)
  redis.call('XADD', key, '*', unpack(parts))
end

-- waiting returns how many entries nobody has had, and how many were given back;
-- -1 where the server does not count them.
function STREAM.waiting()
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then
    return 0
  end
  for _, g in ipairs(groups) do
    local of = {}
    for i = 1, #g, 2 do
      of[g[i]] = g[i + 1]
    end
    if of.name == group then
      if not of.lag then
        return -1
      end
      return of.lag + #pending('-', '+', 10000, LEFT)
    end
  end
  return redis.call('XLEN', key)
end

-- forget deletes a consumer; with what it had pending, if it had.
function STREAM.forget(holder)
  if #pending('-', '+', 1, holder) == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', key, group, holder)
  end
end

-- adopt has entries wait that were delivered long ago to consumers that are none
-- of ours: workers that drained the stream before, and are gone.
function STREAM.adopt()
  for _, one in ipairs(pending('IDLE', FOREIGN_IDLE, '-', '+', 1000)) do
    if one[2] ~= LEFT and not redis.call('ZSCORE', prefix .. 'leases', one[2]) then
      claim(LEFT, one[1], 'JUSTID')
    end
  end
end
