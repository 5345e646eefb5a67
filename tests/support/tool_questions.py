"""Questions of people, and the tool that should be among the first found. The synonyms were chosen by them."""

from __future__ import annotations

from typing import Final

ENGLISH: Final = """
calendar_create_event       invite ana to the planning on friday
calendar_create_event       book a meeting with bob tomorrow at 10
calendar_update_event       move the standup to 11
calendar_update_event       add carol to the design review meeting
calendar_delete_event       cancel my 3pm meeting
calendar_respond_to_event   decline the invitation from Tom
calendar_list_events        what's on my agenda today
calendar_list_events        do I have any meetings next week
calendar_find_times         when are ana and bob both free on thursday
calendar_find_times         find a free slot of 30 minutes for the three of us
calendar_share_calendar     share my calendar with my wife
calendar_list_calendars     which calendars do I have
calendar_manage_calendar    create a new calendar for the house
calendar_get_event          who is coming to the offsite event
gmail_search_emails         any unread mail from my boss
gmail_search_emails         find the email about the invoice
gmail_get_email             read the email from Tom
gmail_get_thread            read the whole email conversation with legal
gmail_send_email            write a mail to bob that I am late
gmail_reply_email           answer Ana's mail
gmail_forward_email         forward the invoice mail to accounting
gmail_save_draft            draft an email to the landlord
gmail_send_draft            send the draft to Ana
gmail_list_drafts           which drafts do I have
gmail_delete_draft          throw away the draft
gmail_set_vacation          set my out of office for next week
gmail_set_signature         change my email signature
gmail_manage_filter         put mails from the newsletter into a folder automatically with a filter
gmail_manage_label          create a label called taxes in gmail
gmail_update_emails         archive all emails from linkedin
gmail_update_emails         mark those emails as read
gmail_unsubscribe           unsubscribe me from this newsletter
gmail_get_attachment        download the attachment of that mail
gmail_list_labels           what labels are in my mailbox
slack_send_message          send bob a DM on slack
slack_send_message          post in #general that the release is out
slack_send_message          message the design channel
slack_search                search slack for the launch checklist
slack_get_messages          what was said in #incidents this morning
slack_get_messages          read the thread in the support channel
slack_list_conversations    which slack channels am I in
slack_find_users            what is Maria's slack handle
slack_create_channel        create a private channel for the project
slack_manage_members        invite Ana to the #launch channel
slack_update_channel        rename the channel and set its topic
slack_set_status            set my slack status to in a meeting until 3
slack_set_status            turn on do not disturb
slack_react                 react to her message with a thumbs up
slack_pin                   pin that message in the channel
slack_upload_file           upload the report to #sales
slack_list_scheduled        which messages are scheduled to be sent later
slack_delete_message        delete my last slack message
slack_update_message        fix the typo in my slack message
slack_list_user_groups      who is in the @oncall group
slack_write_canvas          write a canvas with the meeting notes
slack_mark_read             mark the channel as read
github_create_issue         open a bug in acme/web on github
github_list_issues          which github issues are assigned to me
github_get_issue            read issue 42 of acme/web
github_write_comment        comment on the pull request
github_list_pulls           list open PRs in acme/web
github_get_pull             show me the diff of PR 17
github_create_pull          open a PR from my branch
github_merge_pull           merge the PR when checks are green
github_review_pull          approve the PR
github_update_pull          request a review from Tom on my PR
github_get_checks           why is CI failing on my pull request
github_list_runs            did the nightly build run
github_control_run          rerun the failed workflow
github_run_workflow         start the deploy workflow
github_get_run              show me the logs of the failed job
github_get_file             read the README of acme/web
github_search_code          where in the code is parse_date called
github_write_file           change the version in package.json
github_commit_files         commit these two files to a branch
github_create_branch        create a branch from main
github_list_commits         what was committed last week
github_compare              what changed between v1 and v2
github_list_releases        what is in the latest release
github_save_release         publish a new release
github_create_repo          fork the repo
github_create_repo          create a new repository called tools
github_set_star             star the repository
github_list_notifications   show my github notifications
github_list_alerts          are there dependabot alerts
github_save_gist            share this snippet as a gist
github_list_discussions     what is being discussed in the discussions of acme/web
github_get_my_work          which PRs wait for my review
github_save_milestone       create a milestone for the release
github_list_people          who can write to this repository
github_resolve_thread       resolve that review thread
linear_create_issue         create a ticket for the login bug in linear
linear_list_issues          my tickets in the current sprint
linear_get_issue            what is ENG-123 about in linear
linear_update_issue         assign the ticket to Ana and set it to in progress
linear_update_issue         move the linear issue to done
linear_write_comment        comment on the linear issue
linear_relate_issues        mark ENG-1 as blocked by ENG-2
linear_get_cycle            what is in the current cycle
linear_list_projects        which projects does the mobile team have
linear_post_update          post a status update on the project
linear_save_document        write a spec document in linear
linear_list_customer_needs  which customers asked for this feature
linear_save_initiative      create an initiative for the next quarter
linear_archive              delete that linear issue
linear_link_url             link the github pull request to the linear issue
linear_list_notifications   what is in my linear inbox
linear_lookup               which workflow states does the linear team have
linear_upload_file          attach the screenshot to the linear issue
linear_set_subscription     unsubscribe me from the linear issue
salesforce_search           find the account of Globex in salesforce
salesforce_list_records     which deals close this month
salesforce_list_records     list my open opportunities
salesforce_get_record       show the contact Jane Doe in salesforce
salesforce_create_record    create a lead for Jane at Initech
salesforce_update_record    set the opportunity to closed won
salesforce_update_record    change the phone number of the account
salesforce_log_activity     log a call with Globex
salesforce_run_report       run the pipeline report
salesforce_delete_record    delete the duplicate lead
salesforce_query            run a SOQL query
salesforce_upload_file      attach the contract to the opportunity
salesforce_describe         which fields does the opportunity object have
contacts_search             what is Bob's phone number in my contacts
contacts_get                when is Ana's birthday
find_people                 who is Ana Silva in all my accounts
files_read                  read the PDF
files_read                  what does the spreadsheet say
"""

GERMAN: Final = """
calendar_create_event       lade Ana zum Planungstermin am Freitag ein
calendar_delete_event       sage den Termin morgen ab
calendar_list_events        welche Termine habe ich heute
calendar_find_times         wann sind Ana und Bob frei
gmail_search_emails         suche die Mail mit der Rechnung
gmail_search_emails         zeige mir ungelesene Mails
gmail_reply_email           antworte auf die Mail von Tom
gmail_forward_email         leite die Mail an die Buchhaltung weiter
gmail_set_vacation          richte eine Abwesenheitsnotiz ein
slack_send_message          schreibe Bob eine Nachricht in Slack
slack_create_channel        lege einen neuen Kanal in Slack an
github_create_issue         erstelle ein Issue für den Fehler in acme/web
linear_create_issue         lege ein Ticket in Linear an
linear_update_issue         weise das Ticket Ana zu
salesforce_search           suche den Kunden Globex in Salesforce
salesforce_log_activity     protokolliere ein Telefonat mit dem Kunden
files_read                  lies die PDF-Datei
"""

HELD_OUT: Final = """
calendar_create_event       put lunch with Dana in my calendar for noon
calendar_update_event       change the location of the board meeting
calendar_find_times         is the big conference room available at 2
calendar_respond_to_event   accept the invite for the retro
gmail_search_emails         did the landlord email me back
gmail_send_email            email the team the agenda
gmail_update_emails         move these messages to trash
gmail_set_vacation          auto-reply that I'm on holiday until monday
gmail_get_settings          is my mail being forwarded somewhere
gmail_list_changes          what new mail arrived since I last looked
slack_send_message          tell the marketing channel we are live
slack_send_message          ping Tom on slack later at 5
slack_get_conversation      who are the members of #random
slack_search                who mentioned the outage on slack
slack_list_files            which files were shared in #finance
slack_get_file              open the file Ana posted in slack
github_list_issues          bugs labelled regression in our repo
github_update_issue         close issue 12 as not planned
github_list_comments        unresolved review comments on PR 9
github_get_commit           show commit 1a2b3c
github_list_refs            list all branches
github_delete               delete the old branch
github_list_projects        which project boards does the org have
github_update_project_item  move the item on the project board to done
github_save_label           make a label called flaky
github_search_repos         find repositories about bm25
github_whoami               which github account is connected
linear_search               find anything about onboarding in linear
linear_list_comments        read the comments on ENG-7
linear_save_project         set the target date of the linear project
linear_get_project          how is the mobile project going in linear
linear_list_updates         latest status updates of the initiative
linear_save_milestone       add a milestone to the linear project
linear_create_customer_need record that Acme wants SSO as a customer request
linear_list_documents       which docs does the project have
linear_get_team             who is on the platform team in linear
salesforce_create_record    add a new contact for Globex in the CRM
salesforce_list_files       what files are on the Globex account
salesforce_log_activity     create a follow-up task for the lead
salesforce_list_org         who are the users in our salesforce org
salesforce_get_record       details of the Initech opportunity
contacts_search             look up a colleague in the company directory
"""
"""Questions written with the others before any synonym was chosen, and not used for choosing."""

NEEDS: Final = """
drive_search_files          where is the lease that Dana put into the team drive
drive_list_permissions      who can open the salary spreadsheet
drive_share_file            let Carol look at this folder but not change anything
drive_unshare_file          that file is public, please make it private again
drive_list_changes          what was edited in our project folder since Monday
drive_restore_file          I threw away the wrong file, get it back
drive_write_comment         put a remark on the second paragraph for Bob
docs_update_document        change one sentence in the offer we are writing
sheets_append_rows          append today's numbers at the bottom of the budget sheet
sheets_get_values           add up what we spent per month in that sheet
docs_create_document        start a blank document called meeting notes
drive_upload_file           put these photos into the folder for the trade fair
drive_copy_file             copy the template and name it after the customer
web_read_page               read me this web page
files_write                 turn this list into an excel file I can send
calendar_list_rooms         which room for eight people is free at two
calendar_delete_event       tell everybody why I am calling off the workshop
calendar_get_event          who has not answered my invitation yet
calendar_create_event       I am on holiday all of next week, refuse what comes in
slack_list_unread           what happened in the team chat while I was away
slack_list_mentions         did anybody mention me today
slack_mark_read             mark that channel as seen
slack_send_message          ask the whole team in chat which day suits them
slack_send_message          write to Bob in private that I am late
linear_get_cycle            what is planned for the sprint that begins on Monday
linear_list_issues          which of my tickets are overdue
linear_update_issue         push that ticket to next sprint
linear_get_project          how far is the import project
github_get_run              why did the build go red last night
github_control_run          run the failed tests again
github_compare              which lines did the last release change
github_list_people          who should look over my change
gmail_update_emails         put all invoices from last month into one folder of my mailbox
gmail_unsubscribe           get rid of newsletters I never read
gmail_get_attachment        save the attachment from Carol's message
gmail_reply_email           answer everybody on that conversation that we agree
salesforce_get_record       how do I reach the buyer at Northwind
salesforce_get_record       when did we last speak with that customer
salesforce_list_records     how many deals are about to close this quarter
salesforce_list_records     who reports to whom in the customer's company
"""
"""Needs written before some of their tools existed and before any tool was named. Every other one was used for choosing
synonyms, the rest only to measure."""


def questions_of(table: str) -> list[tuple[str, str]]:
    """Return tool and question pairs."""
    return [
        (tool, question.strip()) for tool, _, question in (line.partition(" ") for line in table.split("\n") if line)
    ]
