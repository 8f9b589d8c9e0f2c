-- A space of texts for Tarantool, durable with each answer. A put is checked and gets a member more, as
-- schema and hook do it. The first argument is the port.
box.cfg{
	wal_mode = 'fsync', memtx_memory = 2 * 1024 * 1024 * 1024,
	net_msg_max = 4096, readahead = 1024 * 1024,
}
local json = require('json')
local space = box.schema.space.create('bench', {id = 512, if_not_exists = true})
space:create_index('key', {parts = {{1, 'string'}}, if_not_exists = true})

local kinds = {
	title = 'string', text = 'string', tags = 'table', created_at = 'number', updated_at = 'number',
	updated_by = 'string', revision = 'number',
}
space:before_replace(function(_, new)
	local value = json.decode(new[2])
	for name, member in pairs(value) do
		if type(member) ~= kinds[name] then
			error('schema: the member ' .. name)
		end
	end
	if value.title == nil or #value.title < 1 or #value.title > 200 then
		error('schema: the title')
	end
	if value.revision ~= nil and (value.revision < 0 or value.revision % 1 ~= 0) then
		error('schema: the revision')
	end
	value.updated_by = value.title .. ', revision ' .. value.revision
	return box.tuple.new{new[1], json.encode(value)}
end)
box.schema.user.grant('guest', 'read,write', 'space', 'bench', {if_not_exists = true})
box.cfg{listen = '127.0.0.1:' .. arg[1]}
