# sender: curl, as in Apple's recipe for command-line tools
# provider: apns
# install: command:curl@7.88.1 command:openssl
# streams: 1
# reached: options
# how: the URL; CURL_CA_BUNDLE. The signature is DER, as `openssl dgst` makes it
set -euo pipefail
encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
header=$(printf '{"alg":"ES256","kid":"%s"}' "$SENDER_KEY_ID" | encode)
claims=$(printf '{"iss":"%s","iat":%d}' "$SENDER_TEAM_ID" "$(date +%s)" | encode)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -binary -sha256 -sign "$SENDER_KEY_FILE" | encode)

# By standard input, where no list of processes shows the token.
options() {
  printf '%s\n' http2 silent 'data = "{\"aps\":{\"alert\":\"Hi\"}}"' "header = \"apns-topic: $SENDER_TOPIC\"" \
    'header = "apns-push-type: alert"' "header = \"authorization: bearer $header.$claims.$signature\"" \
    'write-out = "\n%{http_code}|%{exitcode}|%{errormsg}|%{url}\n"'
  while read -r token; do printf 'url = "%s/3/device/%s"\n' "$SENDER_URL" "$token"; done
}

body=''
options | { curl --config - || true; } | while IFS='|' read -r code exit message url; do
  case $code in
    [0-9][0-9][0-9])
      outcome=ok
      [ "$code" = 200 ] || outcome="HTTP $code $(sed -n 's/.*"reason":"\([^"]*\)".*/\1/p' <<<"$body")"
      [ "$exit" = 0 ] || outcome="exit code $exit: ${message//\"/}"
      printf '{"token": "%s", "outcome": "%s"}\n' "${url##*/}" "$outcome"
      body='' ;;
    *) body=$code ;;
  esac
done
