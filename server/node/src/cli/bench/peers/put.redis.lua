-- What schema and hook do to a put, for Redis: it is checked, gets a member more and is set.
local value = cjson.decode(ARGV[1])
local kinds = {
	title = 'string', text = 'string', tags = 'table', created_at = 'number', updated_at = 'number',
	updated_by = 'string', revision = 'number',
}
for name, member in pairs(value) do
	if type(member) ~= kinds[name] then
		return redis.error_reply('SCHEMA the member ' .. name)
	end
end
if value.title == nil or #value.title < 1 or #value.title > 200 then
	return redis.error_reply('SCHEMA the title')
end
if value.revision ~= nil and (value.revision < 0 or value.revision % 1 ~= 0) then
	return redis.error_reply('SCHEMA the revision')
end
value.updated_by = value.title .. ', revision ' .. value.revision
redis.call('SET', KEYS[1], cjson.encode(value))
return redis.status_reply('OK')
