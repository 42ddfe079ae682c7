#!/bin/sh
exec node /usr/local/lib/portolan/portolan.mjs "$@"
