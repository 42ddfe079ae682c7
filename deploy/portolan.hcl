# The agent's configuration: /etc/portolan/config/portolan.hcl. Keys are Consul's; `portolan validate` checks the folder.

data_dir = "/var/lib/portolan"

# Whom to join: addresses, DNS names, or what a cloud knows.
retry_join = ["consul-1.example.com", "consul-2.example.com", "consul-3.example.com"]
# retry_join = ["provider=aws tag_key=portolan tag_value=server"]

# Every published port of every container becomes a service.
registrator {
  enabled = true
}

# A server of three:
# server           = true
# bootstrap_expect = 3
