<?php
// sender: PHP's curl, many at a time
// provider: apns
// install: command:php@8.2
// streams: 100
// reached: options
// how: the URL; CURLOPT_CAINFO. The signature is DER, as `openssl_sign` makes it
function given(string $name): string { return getenv("SENDER_$name") ?: ''; }
function encode(string $part): string { return rtrim(strtr(base64_encode($part), '+/', '-_'), '='); }

$signed = encode(json_encode(['alg' => 'ES256', 'kid' => given('KEY_ID')])) . '.'
    . encode(json_encode(['iss' => given('TEAM_ID'), 'iat' => time()]));
openssl_sign($signed, $signature, openssl_pkey_get_private('file://' . given('KEY_FILE')), OPENSSL_ALGO_SHA256);
$headers = ['authorization: bearer ' . $signed . '.' . encode($signature), 'apns-topic: ' . given('TOPIC'),
    'apns-push-type: alert', 'content-type: application/json'];

$tokens = array_filter(explode("\n", stream_get_contents(STDIN)));
$multi = curl_multi_init();
curl_multi_setopt($multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
curl_multi_setopt($multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1);
$inFlight = 0;
do {
    while ($inFlight < (int) given('STREAMS') && ($token = array_shift($tokens)) !== null) {
        $request = curl_init(given('URL') . '/3/device/' . $token);
        curl_setopt_array($request, [CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_2TLS, CURLOPT_POSTFIELDS => '{"aps":{"alert":"Hi"}}',
            CURLOPT_HTTPHEADER => $headers, CURLOPT_RETURNTRANSFER => true, CURLOPT_CAINFO => given('CA_FILE'),
            CURLOPT_PIPEWAIT => true, CURLOPT_PRIVATE => $token, CURLOPT_TIMEOUT => 30]);
        curl_multi_add_handle($multi, $request);
        $inFlight++;
    }
    curl_multi_exec($multi, $running);
    while ($done = curl_multi_info_read($multi)) {
        $request = $done['handle'];
        $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
        if ($done['result'] !== CURLE_OK) {
            $outcome = 'curl error ' . $done['result'] . ': ' . (curl_error($request) ?: curl_strerror($done['result']));
        } elseif ($status === 200) {
            $outcome = 'ok';
        } else {
            $outcome = "HTTP $status " . (json_decode(curl_multi_getcontent($request))->reason ?? '');
        }
        echo json_encode(['token' => curl_getinfo($request, CURLINFO_PRIVATE), 'outcome' => $outcome]), "\n";
        curl_multi_remove_handle($multi, $request);
        $inFlight--;
    }
    if ($running) curl_multi_select($multi, 1.0);
} while ($inFlight || $tokens);
