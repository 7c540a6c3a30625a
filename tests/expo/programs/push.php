<?php
[, $url, $callerToken, $deviceToken] = $argv;
$request = curl_init("$url/--/api/v2/push/send");
curl_setopt_array($request, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_HTTPHEADER => ['content-type: application/json', "authorization: Bearer $callerToken"],
    CURLOPT_POSTFIELDS => json_encode(['to' => $deviceToken, 'title' => 'Hi', 'body' => 'From PHP']),
]);
$ticket = json_decode(curl_exec($request))->data;
echo $ticket->status === 'ok' ? "ok $ticket->id" : "{$ticket->details->error}: $ticket->message", "\n";
