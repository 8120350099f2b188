-- What is asked about: the key of the queue, its group, what keys of ours begin
-- with, and the time in microseconds.
local key, group, prefix, now

-- A list: what is held stands in a hash for each holder, by a number that grows
-- with each message that is taken.

local LIST = {type = 'list'}

local function held_of(holder)
  return prefix .. 'held:' .. holder
end

local function number(n)
  return string.format('%.0f', n)
end

-- label is what losses of a message are counted by.
function LIST.label(message)
  return redis.sha1hex(message)
end

function LIST.ready() end

-- next moves one message to the holder, and returns its ref and itself. Here as
-- elsewhere what is moved is written before it is removed: a step that breaks off,
-- for a right that the user lacks, loses nothing.
function LIST.next(holder)
  local message = redis.call('LINDEX', key, -1)
  if not message then
    return
  end
  local ref = number(redis.call('INCR', prefix .. 'taken'))
  redis.call('HSET', held_of(holder), ref, message)
  redis.call('RPOP', key)
  return ref, message, message
end

-- find returns a message that the holder holds, else false.
function LIST.find(holder, ref)
  return redis.call('HGET', held_of(holder), ref)
end

function LIST.remove(holder, ref)
  redis.call('HDEL', held_of(holder), ref)
end

function LIST.move(from, to, ref)
  local message = LIST.find(from, ref)
  if message then
    redis.call('HSET', held_of(to), ref, message)
    redis.call('HDEL', held_of(from), ref)
  end
end

-- refs returns what a holder holds, those first that were taken last: put back in
-- this order, they stand as they stood.
function LIST.refs(holder)
  local refs = redis.call('HKEYS', held_of(holder))
  table.sort(refs, function(a, b) return tonumber(a) > tonumber(b) end)
  return refs
end

function LIST.order(refs)
  table.sort(refs, function(a, b) return tonumber(a) > tonumber(b) end)
end

-- back has a message of a holder wait again, before all others.
function LIST.back(holder, ref, message)
  redis.call('RPUSH', key, message)
  LIST.remove(holder, ref)
end

function LIST.add(parts)
  redis.call('LPUSH', key, parts[1])
end

function LIST.waiting()
  return redis.call('LLEN', key)
end

function LIST.forget() end

function LIST.adopt() end
