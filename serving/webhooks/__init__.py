"""Webhooks: what the service tells other programs by itself, and what it reads of a CRM's own messages.

Outgoing messages are signed by the Standard Webhooks specification, https://www.standardwebhooks.com. They
are written in the transaction of what they tell of (the outbox), and delivered at least once, in order by
lead.
"""
