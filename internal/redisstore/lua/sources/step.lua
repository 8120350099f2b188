-- The step of sources: arguments are the time, what is to be done, list or stream,
-- its group, what keys of ours begin with, and what the operation takes. It
-- answers with a list whose first element is ok; or gone, if what is asked for is
-- not the holder's any more; or type, with a key, its type and the wanted one.

local kind

local BACK_MOST = 1000 -- messages of one holder that are put back in one step
local LOSS_KEPT = 7 * 24 * 3600 -- seconds

local function wrong(name, want)
  local has = redis.call('TYPE', name).ok
  if has ~= 'none' and has ~= want then
    return {'type', name, has, want}
  end
end

local function renew(holder, lease)
  redis.call('ZADD', prefix .. 'leases', now + lease, holder)
end

local function lapsed(holder)
  return not redis.call('ZSCORE', prefix .. 'leases', holder)
end

local function losses_of(label)
  return tonumber(redis.call('HGET', prefix .. 'losses', label) or 0)
end

-- sweep puts back what those held whose lease has lapsed.
local function sweep(holder)
  local leases, losses = prefix .. 'leases', prefix .. 'losses'
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 10)) do
    if dead ~= holder then
      local refs = kind.refs(dead)
      for i = 1, math.min(#refs, BACK_MOST) do
        local message = kind.find(dead, refs[i])
        redis.call('HINCRBY', losses, kind.label(message, refs[i]), 1)
        redis.call('EXPIRE', losses, LOSS_KEPT)
        kind.back(dead, refs[i], message)
      end
      if #refs <= BACK_MOST then
        redis.call('ZREM', leases, dead)
        kind.forget(dead)
      end
    end
  end
end

local OPERATIONS = {}

-- take: holder, its lease, whether it holds something, how many messages, and how
-- many bytes suffice.
function OPERATIONS.take(holder, lease, holds, n, bytes)
  local fault = wrong(key, kind.type)
  if fault then
    return fault
  end
  if holds == '1' and lapsed(holder) then
    return {'gone'}
  end
  kind.ready()
  sweep(holder)
  renew(holder, lease)
  local lost = redis.call('EXISTS', prefix .. 'losses') == 1
  local taken, size = {'ok'}, 0
  for _ = 1, n do
    local ref, message, text = kind.next(holder)
    if not ref then
      break
    end
    local losses = lost and losses_of(kind.label(text, ref)) or 0
    taken[#taken + 1] = {ref, message, number(losses)}
    if type(message) == 'table' then
      for _, part in ipairs(message) do
        size = size + #part
      end
    else
      size = size + #message
    end
    if size >= tonumber(bytes) then
      break
    end
  end
  return taken
end

-- keep: holder, its lease, whether it holds something, and whether to look for
-- what others than we have left.
function OPERATIONS.keep(holder, lease, holds, adopt)
  if wrong(key, kind.type) then
    return {'ok'} -- take says so
  end
  if holds == '1' and lapsed(holder) then
    return {'gone'}
  end
  if holds == '1' then
    renew(holder, lease)
  end
  sweep(holder)
  if adopt == '1' then
    kind.adopt()
  end
  return {'ok'}
end

-- split takes refs apart that stand in one argument.
local function split(text)
  local refs = {}
  for ref in string.gmatch(text, '%S+') do
    refs[#refs + 1] = ref
  end
  return refs
end

-- move: a holder and its heir, the heir's lease, and refs that it gets. What else
-- there is waits again.
function OPERATIONS.move(from, to, lease, refs)
  renew(to, lease)
  for _, ref in ipairs(split(refs)) do
    kind.move(from, to, ref)
  end
  for _, ref in ipairs(kind.refs(from)) do
    kind.back(from, ref, kind.find(from, ref))
  end
  redis.call('ZREM', prefix .. 'leases', from)
  kind.forget(from)
  return {'ok'}
end

-- back: holder and refs.
function OPERATIONS.back(holder, refs)
  refs = split(refs)
  kind.order(refs)
  for _, ref in ipairs(refs) do
    local message = kind.find(holder, ref)
    if message then
      kind.back(holder, ref, message)
    end
  end
  return {'ok'}
end

-- put writes to a destination: its type and key, an id, what makes the id one of
-- a kind or "" if a later one takes its place, a field beside the text, its value,
-- and what the text is called. It returns why not.
local function put(form, name, id, unique, field, value, called, text)
  local fault = wrong(name, form)
  if fault then
    return fault
  end
  if form == 'hash' then
    if unique == '' then
      redis.call('HSET', name, id, text)
    elseif redis.call('HSETNX', name, id, text) == 0 then
      redis.call('HSET', name, id .. '-' .. unique, text)
    end
  elseif form == 'list' then
    redis.call('RPUSH', name, text)
  else
    redis.call('XADD', name, '*', 'id', id, field, value, called, text)
  end
end

-- put: a destination alone.
function OPERATIONS.put(...)
  return put(...) or {'ok'}
end

-- holds: holder and ref.
function OPERATIONS.holds(holder, ref)
  return {kind.find(holder, ref) and 'ok' or 'gone'}
end

-- finish: holder and ref, and where to write what; nothing: nowhere.
function OPERATIONS.finish(holder, ref, ...)
  local message = kind.find(holder, ref)
  if not message then
    return {'gone'}
  end
  if select('#', ...) > 0 then
    local fault = put(...)
    if fault then
      return fault
    end
  end
  kind.remove(holder, ref)
  if redis.call('EXISTS', prefix .. 'losses') == 1 then
    redis.call('HDEL', prefix .. 'losses', kind.label(message, ref))
  end
  return {'ok'}
end

-- there says whether there is a letter: type and key of where it is, its ref and
-- its text.
local function there(form, name, ref, text)
  if wrong(name, form) then
    return false
  elseif form == 'hash' then
    return redis.call('HGET', name, ref) == text
  elseif form == 'list' then
    return redis.call('LPOS', name, text)
  end
  return redis.call('XRANGE', name, ref, ref)[1]
end

local function drop(form, name, ref, text)
  if form == 'hash' then
    redis.call('HDEL', name, ref)
  elseif form == 'list' then
    redis.call('LREM', name, 1, text)
  else
    redis.call('XDEL', name, ref)
  end
end

-- there and drop: a letter.
function OPERATIONS.there(...)
  return {there(...) and 'ok' or 'gone'}
end

function OPERATIONS.drop(...)
  if not there(...) then
    return {'gone'}
  end
  drop(...)
  return {'ok'}
end

-- revive: a letter, of type "" if it is elsewhere, and what its message is made
-- of.
function OPERATIONS.revive(form, name, ref, text, ...)
  local fault = wrong(key, kind.type)
  if fault then
    return fault
  end
  if form == '' then
    kind.add({...})
  elseif there(form, name, ref, text) then
    kind.add({...})
    drop(form, name, ref, text)
  else
    return {'gone'}
  end
  return {'ok'}
end

function OPERATIONS.waiting()
  return wrong(key, kind.type) or {'ok', number(kind.waiting())}
end

-- step answers "TIME" where a function may not ask for the time and args[1] does
-- not tell it. Without a key it answers nothing.
local function step(keys, args)
  if #keys == 0 then
    return
  end
  local clock = redis.pcall('TIME')
  if not clock.err then
    now = clock[1] * 1000000 + clock[2]
  elseif args[1] ~= '' then
    now = tonumber(args[1])
  else
    return 'TIME'
  end
  key, group, prefix = keys[1], args[4], args[5]
  kind = args[3] == 'list' and LIST or STREAM
  return OPERATIONS[args[2]](unpack(args, 6))
end
