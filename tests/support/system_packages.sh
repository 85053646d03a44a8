#!/usr/bin/env bash
# PostgreSQL (for the contract suites), tesseract (for scans), openssl (for a certificate), unshare and mount (for a small disk): installed when root on Debian or Ubuntu, else said.
set -u
missing=()
command -v tesseract >/dev/null || missing+=(tesseract-ocr)
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
command -v openssl >/dev/null || missing+=(openssl)
command -v unshare >/dev/null || missing+=(util-linux)
command -v mount >/dev/null || missing+=(mount)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing ${missing[*]} for the tests ..."
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/tmp/mailroom-apt.log 2>&1 && exit 0
  tail -n 5 /tmp/mailroom-apt.log
fi
echo "Not installed: ${missing[*]}. The tests that need them will be skipped; install them with: sudo apt-get install ${missing[*]}"
exit 0
