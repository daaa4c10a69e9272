"""A bot on one screen. Register its store like anybody's, then: `python -m examples.triage_bot triage.sealdesk`."""

import sys

from client_lib import Bot, Message

REPAIRS = {"4711": "ready since Monday", "4712": "waiting for a part"}

bot = Bot(sys.argv[1] if len(sys.argv) > 1 else "triage.sealdesk")


@bot.command("status")
async def status(message: Message, arguments: str) -> None:
    """Answer /status 4711."""
    await message.reply(f"Repair {arguments} is {REPAIRS.get(arguments, 'not known to me')}.")


@bot.command("help")
async def explain(message: Message) -> None:
    """Answer /help."""
    await message.reply("Write /status and the number of your repair.")


if __name__ == "__main__":
    bot.run()
