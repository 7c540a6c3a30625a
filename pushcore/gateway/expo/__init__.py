"""The dialect of Expo's push service: sealed tokens and receipts, tickets, and forwarding to Expo."""
